"""What ``capsule`` can do."""

from __future__ import annotations

import errno
import json
import re
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from phonenumbers import SUPPORTED_REGIONS
from rich.table import Table

from capsule_core.errors import CapsuleError, InvalidField
from capsule_core.receipts import Receipt, describe, verify
from capsule_services.backups import backup
from capsule_services.databases import db
from capsule_services.demo.show import show
from capsule_services.doctor.examine import as_json, as_table, examine
from capsule_services.doctor.findings import exit_code
from capsule_services.doctor.place import Place
from capsule_services.keys import keys
from capsule_services.ledgers import ledger
from capsule_services.lists import lists
from capsule_services.paragraphs import flow
from capsule_services.release import release
from capsule_services.retention import retention
from capsule_services.rootkeys import rotate_root
from capsule_services.runtime.authority import Step
from capsule_services.runtime.certificates import next_step, prepared, take_step
from capsule_services.runtime.clock import advance, wall_time
from capsule_services.runtime.deployment import ORDER, Options, running
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.handing import hand_out
from capsule_services.runtime.room import unwritten
from capsule_services.speech import refuse, tell
from capsule_services.sweeps import sweep
from capsule_services.tenants import tenants

__all__ = [
    "AsJson",
    "Data",
    "app",
    "begin",
    "certificates",
    "check",
    "clock",
    "demo",
    "doctor",
    "probe",
    "put_ahead",
    "up",
]

app = typer.Typer(
    name="capsule",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""Keep other people's contact data, and keep the promises that come with it.

[bold]Begin here[/bold]

  capsule demo                      play the whole story on this machine, and check it
  capsule up --data DIR --dev       run the services and say how to connect
  capsule verify RECEIPT --key KEY  check a receipt, offline
  capsule doctor --data DIR         look at a deployment, and say what to mend
  capsule sweep --data DIR          destroy what is due now; --dry-run says what that is

The services keep their files in the data folder and nowhere else; the demo leaves exports and receipts to look at.""",
)
clock = typer.Typer(no_args_is_help=True, help="Move the clock of a deployment that runs with --dev.")
app.add_typer(clock, name="clock")
app.add_typer(db, name="db")
app.add_typer(backup, name="backup")
app.add_typer(ledger, name="ledger")
app.add_typer(keys, name="keys")
app.add_typer(retention, name="retention")
app.add_typer(lists, name="lists")
app.add_typer(tenants, name="tenants")
keys.command("rotate-root")(rotate_root)

_PATIENCE: Final = 5.0
_SPAN: Final = re.compile(r"(-?)([0-9]{1,9})([a-z]+)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder to keep everything in.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def _tell_release(asked: bool) -> None:
    if asked:
        typer.echo(f"capsule {release()}")
        raise typer.Exit


@app.callback()
def begin(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_release, help="Say which.")
    ] = False,
) -> None:
    """Say which release this is, if that is all."""


@app.command()
def demo(
    *,
    data: Data = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Play it on PostgreSQL: a server, as a role that may make roles and databases (capsule_... on it).",
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Play the story: sign up, import, work, delete, restore, purge, prove; and check every step.

    Starts contacts, identity and privacy as processes of their own over mutual TLS, in a temporary folder that
    is removed afterwards (or in DIR, which is kept and must be new or empty); summary, exports and receipts stay.
    Exit code 0: all checks held. 1: one failed, and it says which.
    """
    with ExitStack() as stack:
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capsule-demo-")))
            artefacts = Path(tempfile.mkdtemp(prefix="capsule-demo-artefacts-"))
        elif data.exists() and (not data.is_dir() or any(data.iterdir())):
            refuse(f"{data} is not an empty folder; the demo needs one of its own")
        else:
            folder, artefacts = data / "deployment", data / "artefacts"
        _end_on_signals()
        try:
            held = show(folder, artefacts, as_json=json_, database_url=database_url)
        except (StartRefused, CapsuleError) as error:
            with suppress(OSError):
                artefacts.rmdir()  # only if nothing was put there
            refuse(str(error))
        except OSError as error:
            refuse(str(unwritten(error, folder)))
    raise typer.Exit(0 if held else 1)


@app.command()
def up(
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment; made if it is new.")],
    dev: Annotated[bool, typer.Option("--dev", help="gRPC reflection, and a clock that can be put ahead.")] = False,
    region: Annotated[str, typer.Option(metavar="CC", help="Where national phone numbers are at home.")] = "GB",
    contacts_port: Annotated[int, typer.Option(help="Port of contacts; 0 is any free one.")] = 0,
    identity_port: Annotated[int, typer.Option(help="Port of identity; 0 is any free one.")] = 0,
    privacy_port: Annotated[int, typer.Option(help="Port of privacy; 0 is any free one.")] = 0,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes for each of identity and contacts; 2 or more need PostgreSQL.")
    ] = 1,
    metrics_port: Annotated[
        int,
        typer.Option(min=0, max=65000, help="First port to serve numbers at, the next process at the next; 0: none."),
    ] = 0,
) -> None:
    """Run the services until Ctrl-C.

    Prints one line of JSON when all of them report SERVING: every address, the CA, the client certificate, and how to
    connect. A service that ends by itself ends them all, with exit code 1; but one of several processes of a service is
    started anew.
    """
    if region.upper() not in SUPPORTED_REGIONS:
        refuse("--region must be a country in two letters (ISO 3166-1), such as DE")
    _end_on_signals()
    ports = {"contacts": contacts_port, "identity": identity_port, "privacy": privacy_port}
    options = Options(dev=dev, region=region.upper(), ports=ports, workers=workers)
    try:
        with running(data, options.numbered(metrics_port) if metrics_port else options) as deployment:
            typer.echo(json.dumps(deployment.connection()))
            while (ended := deployment.failed()) is None:
                for name in deployment.replaced():
                    sys.stderr.write(
                        f"capsule: {name} ended by itself and is started anew; see {data}/logs/{name}.log\n"
                    )
                time.sleep(0.2)
            refuse(f"{ended} {deployment.end_of(ended)}; see {data}/logs/{ended}.log", code=1)
    except KeyboardInterrupt:
        return
    except StartRefused as error:
        refuse(str(error))


@app.command("verify")
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


@app.command()
def doctor(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment.")],
    json_: AsJson = False,
) -> None:
    """Look at a deployment, running or stopped, and say what to mend. Nothing is changed.

    Exit code 0: all is well. 1: something is to be mended. 2: something could not be looked at.
    """
    findings = examine(Place(folder=data))
    if json_:
        typer.echo(json.dumps(as_json(findings), indent=2))
    else:
        tell(as_table(findings))
    raise typer.Exit(exit_code(findings))


@app.command()
def certificates(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder whose tls/ has the authority.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Hand out to a folder for each service.")
    ] = None,
    authority: Annotated[
        Step | None,
        typer.Option(
            "--authority",
            metavar="STEP",
            help="Replace the authority: announce a new one, let everybody adopt it, retire the old one.",
        ),
    ] = None,
) -> None:
    """Make the local authority and everybody's certificates, or renew what is near its end, without starting anything.

    With --to each service gets a folder with its own certificate and key and the authority's certificate alone. With
    --authority STEP a new authority takes the place of the old one without a failed call, in three steps: announce
    (both are trusted), adopt (the new one signs everybody's certificate), retire (the new one alone is trusted). Before
    the next step everybody must have what the last one made.
    """
    try:
        now, tls = wall_time(), data / "tls"
        if authority is not None:
            take_step(tls, authority, now=now)
        made, following = prepared(tls, ORDER, now=now), next_step(tls, now=now)
        if to is not None:
            hand_out(made, to)
    except StartRefused as error:
        refuse(str(error))
    typer.echo(f"certificates are in {to or tls}")
    if following is not None:
        typer.echo(f"two authorities are trusted; when everybody has these: --authority {following}")


@app.command()
def probe(
    port: Annotated[
        int, typer.Argument(metavar="PORT", help="Where the service serves its metrics (CAPSULE_METRICS).")
    ],
    live: Annotated[bool, typer.Option("--live", help="Ask whether it is alive at all.")] = False,
) -> None:
    """Ask a service on this machine whether it is ready: for the probes of containers, which need no shell for it.

    Exit code 0: it is. 1: it is not, or does not answer.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/livez" if live else "/readyz")
        well = connection.getresponse().status == 200
    except OSError:
        well = False
    finally:
        connection.close()
    raise typer.Exit(0 if well else 1)


@clock.command("advance", context_settings={"ignore_unknown_options": True})  # -30d is no option
def put_ahead(
    span: Annotated[str, typer.Argument(metavar="SPAN", help="How far: 90s, 15m, 12h, 30d or 2w.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment.")] = Path(),
) -> None:
    """Put the clock of a deployment with --dev ahead; it never goes back. What is due then is swept at once."""
    by = _by(span)
    if not (data / "tls").is_dir():
        refuse(f"{data} is not the folder of a deployment; say --data DIR as for capsule up")
    if not (data / "clock").is_file():
        refuse(f"the deployment in {data} never ran with --dev; its clock cannot be moved")
    try:
        ahead = advance(data / "clock", by)
    except OSError as error:
        refuse(str(unwritten(error, data)))
    except (CapsuleError, StartRefused) as error:
        refuse(str(error))
    typer.echo(f"the clock is {ahead} ahead")


app.command("sweep")(sweep)
flow(app)


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


def _by(span: str) -> timedelta:
    """Read how far the clock is to be put ahead."""
    found = _SPAN.fullmatch(span)
    if found is None:
        refuse("SPAN must be a number and a unit: 90s, 15m, 12h, 30d or 2w")
    if found[1]:
        refuse(f"{span} would put the clock back, and it goes forward only; say 90s, 15m, 12h, 30d or 2w")
    if found[3] not in _UNITS:
        refuse(f"{found[3]} is no unit: s, m, h, d and w are, such as in 30d or 2w; a year is 365d")
    try:
        return timedelta(**{_UNITS[found[3]]: int(found[2])})
    except OverflowError:
        refuse(f"{span} leads out of the calendar; say less, such as 30d")


def _end_on_signals() -> None:
    """End on Ctrl-C and SIGTERM alike, also where a shell made us ignore them, so that every process is stopped."""

    def end(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)
