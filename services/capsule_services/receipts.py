"""``capsule verify``: check a receipt, offline."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from capsule_core.errors import CapsuleError, InvalidField
from capsule_core.receipts import Receipt, describe, verify
from capsule_services.speech import AsJson, refuse, tell

__all__ = ["check"]


def check(
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT", help="The receipt, a file (.jws).")],
    key: Annotated[
        str, typer.Option("--key", metavar="KEY", help="The public key, or a file that holds it (receipts.pub).")
    ],
    json_: AsJson = False,
) -> None:
    """Check a receipt of an erasure, offline: that it was signed, committed to the ledger, and not altered since.

    Exit code 0: it is valid. 1: it is not. 2: a file cannot be read.
    """
    document, text = _read(receipt), _key_text(key)
    try:
        statement = verify(document, text.strip())
    except InvalidField:
        refuse("--key must be a public key, like the line in receipts.pub, or a file that holds one")
    except CapsuleError as error:
        if json_:
            typer.echo(json.dumps({"valid": False, "reason": str(error)}, indent=2))
            raise typer.Exit(1) from None
        refuse(str(error), code=1)
    told = describe(Receipt.decode(document))
    if json_:
        typer.echo(json.dumps({"valid": True, "receipt": json.loads(statement.encode())}, indent=2))
        return
    table = Table("", "", show_header=False, title="The receipt is valid", title_style="bold green")
    for label, value in told:
        table.add_row(label, value)
    tell(table)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        refuse(f"cannot read {file}: {error.strerror}; give the path of a receipt, and of a public key with --key")


def _key_text(key: str) -> str:
    """Return the public key that *key* is, or the file of that name holds."""
    try:
        return Path(key).read_text(encoding="utf-8") if Path(key).is_file() else key
    except UnicodeDecodeError:
        refuse(f"{key} is no text; --key must be a public key, like the line in receipts.pub, or a file that holds one")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # then it is no path
            return key
        refuse(f"cannot read {key}: {error.strerror}; give a public key, or a file that holds one")
