"""Where a whole deployment can keep its records, with backups of it: in files, or on a server with an archive."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import attrs
import psycopg

from capsule_services.backup.chunks import BackupKey
from capsule_services.backup.manifest import MANIFESTS, load
from capsule_services.backup.unpacking import unpack
from capsule_services.databases import prepare
from capsule_services.places.place import FolderPlace
from capsule_sql.migration import Role
from capsule_sql.snapshots import made_whole
from tests.e2e.test_backups import capsule
from tests.postgres import ADMIN, Server

_ARCHIVING = ("wal_level=replica", "archive_mode=on", "max_wal_senders=4", "wal_keep_size=64MB", "log_statement=all")
_COMPRESSED = """SELECT a.attrelid::regclass::text, quote_ident(a.attname) FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND a.attnum > 0 AND a.attstorage IN ('x', 'm') AND n.nspname IN ('data', 'reads', 'dbos')"""
_ARCHIVED = """SELECT last_archived_wal >= %s FROM pg_stat_archiver"""
_BLOCK = 8192
_UNLOGGED = """SELECT pg_relation_filepath(oid) FROM pg_class WHERE relpersistence = 'u'"""


class Ground(Protocol):
    """Where the deployment in *folder* keeps its records, and what copies there are of them."""

    folder: Path

    def prepare(self) -> None:
        """Before the deployment starts for the first time."""
        ...

    def begin(self) -> None:
        """When it runs, and before there is anybody in it."""
        ...

    def settle(self) -> None:
        """Let everything that was written be in files."""
        ...

    def back_up(self) -> None:
        """Make a backup, and what somebody has who opened it."""
        ...

    def stop(self) -> None:
        """When the deployment has stopped: let what is only in memory be in files too."""
        ...

    def places(self) -> Mapping[str, Path]:
        """Name everything there is, apart from the deployment's own folder."""
        ...

    def backed_up(self) -> Mapping[Path, Path]:
        """Say of a service's folder where its records of a backup lie, if they can be opened as they are."""
        ...


@attrs.define
class Files:
    """Records in the deployment's folder, backed up by ``capsule backup``."""

    folder: Path
    beside: Path
    _made: list[str] = attrs.field(factory=list)

    def prepare(self) -> None:
        return

    def begin(self) -> None:
        return

    def settle(self) -> None:
        return

    def back_up(self) -> None:
        code, told, err = capsule("backup", "create", "--data", self.folder, "--to", self.beside / "backups", "--json")
        assert code == 0, err
        self._made.append(told["backup"])
        key, place = BackupKey((self.folder / "backup.key").read_bytes()), FolderPlace(self.beside / "backups")
        manifest = load(place, told["backup"], key)
        assert f"{MANIFESTS}{manifest.name}" in place.names(MANIFESTS)
        for name, file in manifest.files.items():
            for kind in ("unpacked", "whole"):
                to = self.beside / kind / manifest.name / name
                to.parent.mkdir(parents=True, exist_ok=True)
                with to.open("wb") as written:
                    unpack(file, place, key, written, lambda *_: None)
            made_whole(to, Role.DATA if name.endswith("/data.db") else Role.LEDGER, file.revision)

    def stop(self) -> None:
        return

    def places(self) -> Mapping[str, Path]:
        return {kind: self.beside / kind for kind in ("backups", "unpacked", "whole")}

    def backed_up(self) -> Mapping[Path, Path]:
        first = self.beside / "whole" / self._made[0]
        return {self.folder / path.parent.name: path for path in first.glob("*/data.db")}


@attrs.define
class OnServer:
    """Records in PostgreSQL, backed up by the server's own means: base backups and an archive of its log."""

    folder: Path
    beside: Path
    server: Server
    _copies: list[Path] = attrs.field(factory=list)
    _known: set[bytes] = attrs.field(factory=set)

    @property
    def _away(self) -> Path:
        return self.server.folder / "away"

    @property
    def _settings(self) -> tuple[str, ...]:
        return (*_ARCHIVING, f"archive_command=cp %p {self._away}/archive/%f")

    def prepare(self) -> None:
        for each in (self._away, self._away / "archive", self._away / "base"):
            each.mkdir()
            if self.server.user:
                os.chown(each, self.server.user["user"], self.server.user["group"])
        self.server.stop()
        self.server.start(*self._settings)
        prepare(self.folder, self.server.url(), "capsule")

    def settle(self) -> None:
        for name in self._databases():
            with psycopg.connect(self.server.url(name), autocommit=True) as owner:
                owner.execute("CHECKPOINT")
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            ((name,),) = admin.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchall()
            for _ in range(600):
                if admin.execute(_ARCHIVED, (name,)).fetchall() == [(True,)]:
                    return
                admin.execute("SELECT pg_sleep(0.05)")
        raise AssertionError("the log is not archived")

    def begin(self) -> None:
        """Let no value be compressed from now on, and remember every block there is: nobody can be in one of those."""
        for name in self._databases():
            with psycopg.connect(self.server.url(name), autocommit=True) as owner:
                for table, column in owner.execute(_COMPRESSED).fetchall():
                    owner.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
        self.settle()
        for folder in self._folders().values():
            for _, content in _files(folder):
                self._known |= {_name(content), *map(_name, _blocks(content))}

    def back_up(self) -> None:
        self._copies.append(self._away / "base" / str(len(self._copies)))
        to = ("-D", self._copies[-1], "-h", self.server.folder, "-U", ADMIN)
        how = ("--checkpoint=fast", "--wal-method=none", "--no-sync")
        self.server._run([self.server.programs / "pg_basebackup", *to, *how])

    def stop(self) -> None:
        """Stop the server, which keeps tables that are not logged in memory as long as it runs; and start it again."""
        self.server.stop()
        self.server.start(*self._settings)

    def places(self) -> Mapping[str, Path]:
        """Copy every block that is new: a server's files are large, and the same in each of its databases."""
        shutil.rmtree(self.beside, ignore_errors=True)
        for place, folder in self._folders().items():
            for path, content in _files(folder):
                if _name(content) not in self._known:
                    (to := self.beside / place / path).parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(b"".join(block for block in _blocks(content) if _name(block) not in self._known))
        return {place: self.beside / place for place in self._folders()}

    def _folders(self) -> Mapping[str, Path]:
        (log := self._away / "log").mkdir(exist_ok=True)
        shutil.copy(self.server.folder / "log", log)
        kept = {each: self._away / each for each in ("archive", "base", "log")}
        return {**kept, "server": self.server.folder / "data"}

    def backed_up(self) -> Mapping[Path, Path]:
        return {}

    def unlogged(self) -> set[str]:
        """Name the files that are never copied: not to a backup, not to a standby, not to the log."""
        found: set[str] = set()
        for name in self._databases():
            with psycopg.connect(self.server.url(name), autocommit=True) as owner:
                found |= {path for (path,) in owner.execute(_UNLOGGED).fetchall()}
        return found

    def _databases(self) -> list[str]:
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            rows = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'capsule%'").fetchall()
        return [name for (name,) in rows]


def _files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # the server is at work
            yield path.relative_to(folder), path.read_bytes()


def _blocks(content: bytes) -> Iterator[bytes]:
    """Cut a file as the server writes it: no value lies in two blocks."""
    size = len(content) if len(content) % _BLOCK else _BLOCK
    return (content[at : at + size] for at in range(0, len(content), size))


def _name(block: bytes) -> bytes:
    return hashlib.blake2b(block, digest_size=16).digest()


@contextmanager
def ground(kind: str, folder: Path) -> Iterator[Files | OnServer]:
    """Make a ground for the deployment in ``folder/deployment``."""
    if kind == "files":
        yield Files(folder / "deployment", folder / "beside")
        return
    server = Server.begin("--wal-segsize=1")
    try:
        yield OnServer(folder / "deployment", folder / "beside", server)
    finally:
        server.end()
