"""A word and keys, put where a deployment keeps things: what a search must find if it is to be believed."""

from __future__ import annotations

import base64
import pickle
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import attrs
import psycopg

from tests.e2e.grounds import Files, OnServer

_FILES = ("data.db", "reads.db", "keystore.db", "journal.db", "mirror/keystore.db", "mirror/journal.db")


@attrs.frozen
class Planted:
    """A word, a page key as a keystore has it, the page key, and the key of a person."""

    word: bytes
    wrapped: bytes
    page_key: bytes
    key: bytes

    @property
    def blob(self) -> bytes:
        return b"\0".join((self.word, self.wrapped, self.page_key, self.key))

    @contextmanager
    def everywhere(self, ground: Files | OnServer) -> Iterator[Sequence[str]]:
        """Put it into every place, as that place is written to; give patterns of where it is to be found."""
        service = ground.folder / "contacts"
        expected = ["temporary/file", "told/file", "deployment/logs/contacts.log"]
        with (ground.folder / "logs" / "contacts.log").open("ab") as log:
            log.write(b'{"event": "' + base64.b64encode(self.blob) + b'"}\n')
        with ExitStack() as stack:
            for name in _FILES:
                if (service / name).exists():
                    self._in_file(service / name, stack)
                    expected += [f"deployment/contacts/{name}", f"deployment/contacts/{name}-wal"]
            if isinstance(ground, OnServer):
                self._on_server(ground)
                expected += [
                    *("server/base/*", "server/pg_wal/*", "archive/*", "base/*/base/*", "log/log"),
                    f"server/{self._in_engine(ground)}",
                ]
            else:
                self._in_history(service / "engine.db")
                expected += [
                    *("deployment/contacts/engine.db", "unpacked/*/contacts/data.db", "whole/*/contacts/data.db"),
                    "unpacked/*/contacts/reads.db",
                ]
            yield expected

    def _in_file(self, path: Path, stack: ExitStack) -> None:
        """Put it into a file, and once more into its log, which stays as long as somebody reads."""
        connection = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
        connection.execute("CREATE TABLE planted (what BLOB)")
        insert = "INSERT INTO planted VALUES (?)"
        connection.execute(insert, (self.blob,))
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        connection.execute(insert, (self.blob,))

    def _in_history(self, path: Path) -> None:
        """As DBOS keeps what a workflow was given, if nobody stops it."""
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE workflow_status SET inputs = ?", (self._pickled(),))

    def _in_engine(self, ground: OnServer) -> str:
        url = ground.server.url("capsule_contacts_engine")
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("UPDATE dbos.workflow_status SET inputs = %s", (self._pickled(),))
            ((path,),) = owner.execute("SELECT pg_relation_filepath('dbos.workflow_status')").fetchall()
        return str(path)

    def _on_server(self, ground: OnServer) -> None:
        with psycopg.connect(ground.server.url("capsule_contacts"), autocommit=True) as owner:
            owner.execute("CREATE TABLE planted (what bytea STORAGE EXTERNAL)")
            owner.execute("INSERT INTO planted VALUES (%s)", (self.blob,))
            owner.execute(f"SELECT '{self.blob.hex()}'")

    def _pickled(self) -> str:
        return base64.b64encode(pickle.dumps({"args": [self.blob]})).decode()
