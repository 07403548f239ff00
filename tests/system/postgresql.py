"""A real PostgreSQL on loopback, in a temporary directory, with a password."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blissdata_bluesky.server.embedded import free_port

USER = "keeper"
_SECONDS = 100
# who may run it where we are root, which PostgreSQL refuses to be
_OTHERS = ("postgres", "nobody")


class PostgreSQL:
    """A running server; `database()` makes an empty database and gives its URL."""

    def __init__(self, programs: Path, directory: Path, owner: dict[str, Any]) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(8)
        self._programs = programs
        self._directory = directory
        self._owner = owner
        self._control = [programs / "pg_ctl", "-D", directory / "data", "-w", "-t", str(_SECONDS)]

    def make(self) -> None:
        """Make the files of a server with one user, whose password is asked for."""
        secret = self._directory / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        options = ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", f"--pwfile={secret}"]
        _run([self._programs / "initdb", "-D", self._directory / "data", "-U", USER, *options], self._owner)

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = f"-p {self.port} -h 127.0.0.1 -k {self._directory} -c fsync=off -c max_connections=60"
        _run([*self._control, "-l", self._directory / "log", "-o", settings, "start"], self._owner)

    def start_if_stopped(self) -> None:
        """Start, unless it runs."""
        if not (self._directory / "data" / "postmaster.pid").exists():
            self.start()

    def stop(self) -> None:
        """Cut all connections, and end."""
        _run([*self._control, "-m", "fast", "stop"], self._owner)

    def database(self) -> str:
        """URL of a new database."""
        name = f"runs_{uuid.uuid4().hex}"
        self.psql(f"CREATE DATABASE {name}")
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{name}"

    def psql(self, statement: str, database: str = "postgres") -> str:
        """What `psql` prints."""
        line = [self._programs / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database, "-Atqc"]
        return _run([*line, statement], {**self._owner, "env": {**os.environ, "PGPASSWORD": self.password}})


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """A server that lives as long as the context. Skips the test where there is none to start."""
    programs, owner = _programs(), _owner()
    # not below pytest's directories, which other users cannot enter
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        if "user" in owner:
            os.chown(directory, owner["user"], owner["group"])
        server = PostgreSQL(programs, directory, owner)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("pg_ctl")
    if not found and on_path is None:
        pytest.skip("no PostgreSQL is installed (Debian: apt-get install postgresql)")
    return (found[-1] if found else Path(str(on_path)).resolve()).parent


def _owner() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in _OTHERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.skip(f"PostgreSQL does not run as root, and none of the users {', '.join(_OTHERS)} exists")


def _run(line: list[Any], options: dict[str, Any]) -> str:
    # a daemon would keep a pipe open for ever
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            [str(part) for part in line],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            timeout=_SECONDS,
            check=False,
            **options,
        )
        output.seek(0)
        said = output.read()
    if done.returncode != 0:
        raise RuntimeError(f"{Path(str(line[0])).name} failed: {said}")
    return said


@pytest.fixture(name="postgresql", scope="session")
def a_server() -> Iterator[PostgreSQL]:
    """A server for the tests of one module, which imports this."""
    with running() as server:
        yield server


@pytest.fixture(name="catalog_uri", params=["sqlite", "postgresql"])
def a_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that nobody has used, of each kind in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "catalog.db")
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.database()
