"""Archived runs on the list: served beside live ones and without Redis, and listed again from their files alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import dask
import h5py
import httpx
import pytest
from tiled.client import from_uri
from tiled.queries import Eq
from typer.testing import CliRunner

from blissdata_bluesky.archive.service import Archiver
from blissdata_bluesky.catalog import Registrar, Registration, catalog_of
from blissdata_bluesky.cli import app
from blissdata_bluesky.cli.archived_files import Spool
from blissdata_bluesky.connection import open_client
from blissdata_bluesky.errors import ArchiveError
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.tiled import from_uri as tree_from_uri
from blissdata_bluesky.tiled.watch import SWEEP_SECONDS
from blissdata_bluesky.writer import BlissdataWriter

from .archive_site import open_site
from .registering import made_up
from .tiled_runs import Run, eventually, publish, started, stopped

KEYS = ["number", "integer", "image"]
ROWS = 5


def archived(redis_url: str, root: Path, journal: Path, run: Run) -> None:
    """Publish a whole run, and archive it into the catalog of `root`."""
    with Registrar(_made(root)) as registrar:
        archiver = Archiver(
            journal, root, lambda done: registrar.register(Registration(*_registration(run)) for run in done)
        )
        # the lock of this archiver keeps the writer from starting another
        with BlissdataWriter(redis_url, journal=journal, archive=root) as writer:
            publish(writer, run.whole(ROWS, KEYS))
            archiver.run(lambda: False)


def _made(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    return catalog_of(root)


def _registration(run: Any) -> tuple[Any, ...]:
    return run.uid, run.start, run.stop, run.incomplete, run.file


@contextmanager
def connected(server: TiledServer) -> Iterator[Any]:
    """A client that leaves nothing behind."""
    with dask.config.set(scheduler="synchronous"):
        client = from_uri(server.url)
        try:
            yield client
        finally:
            client.context.http_client.close()


def get(server: TiledServer, path: str) -> httpx.Response:
    base = f"http://127.0.0.1:{server.port}/api/v1/"
    return httpx.get(base + path, headers={"Authorization": f"Apikey {server.api_key}"}, timeout=60)


def check_rows(run: Any) -> None:
    """The run holds what `Run.whole` publishes."""
    data = run["primary"].read()
    assert data["integer"].values.tolist() == list(range(ROWS))
    assert (data["image"].values[:, 0, 0] == range(ROWS)).all()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def two(redis_url: str, root: Path, tmp_path: Path) -> tuple[Run, Run]:
    """Two archived runs, which Redis has as well."""
    first, second = Run(scan_id=1, began=1.6e9), Run(scan_id=2, began=1.65e9)
    for run in (first, second):
        archived(redis_url, root, tmp_path / "journal", run)
    return first, second


def test_live_and_archived_runs_are_one_list(two: tuple[Run, Run], redis_url: str, root: Path, tmp_path: Path) -> None:
    first, second = two
    live = Run(scan_id=3)
    with TiledServer(redis_url, archive=root) as server, connected(server) as client:
        with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
            publish(writer, live.whole(ROWS, KEYS))
        stopped(client, live.uid)
        assert list(client) == [first.uid, second.uid, live.uid]
        held = client[first.uid]
        check_rows(held)
        with open_client(redis_url) as redis:
            redis.flushall()
        # it is seen within a second that Redis is empty
        eventually(lambda: list(client) == [first.uid, second.uid])
        for run in (held, client[second.uid], client.search(Eq("start.scan_id", 1)).values().first()):
            check_rows(run)
        assert [name for name, _ in held.documents()] == ["start", "descriptor", *["event"] * ROWS, "stop"]
        assert live.uid not in client
    # a follower that starts anew
    with TiledServer(redis_url, archive=root) as server, connected(server) as client:
        assert list(client) == [first.uid, second.uid]
        check_rows(client[2])


def test_a_server_with_a_list_of_its_own_keeps_what_the_archive_has(redis_url: str, root: Path, tmp_path: Path) -> None:
    """The archiver has another list. Of these runs one is archived, the other is nowhere."""
    run, other = Run(scan_id=1), Run(scan_id=2)
    root.mkdir()
    with TiledServer(redis_url, archive=root, catalog=tmp_path / "own.db") as server, connected(server) as client:
        archived(redis_url, root, tmp_path / "journal", run)
        with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
            publish(writer, other.whole(ROWS, KEYS))
        held = stopped(client, run.uid)
        stopped(client, other.uid)
        with open_client(redis_url) as redis:
            redis.flushall()
        eventually(lambda: list(client) == [run.uid])
        assert _files(client) == [path.relative_to(root).as_posix() for path in root.rglob("*.h5")]
        check_rows(held)
        answer = get(server, f"table/full/{other.uid}/primary/internal")
        assert (answer.status_code, "Redis has let go of" in answer.json()["detail"]) == (404, True)
        with pytest.raises(KeyError):
            client.search(Eq("start.scan_id", 1))[other.uid]
    with TiledServer(archive=root, catalog=tmp_path / "own.db") as server, connected(server) as client:
        assert list(client) == [run.uid]
        assert client[run.uid].metadata["stop"]["num_events"] == {"primary": ROWS}


def test_a_run_that_expires_before_its_file_is_whole(redis_url: str, tmp_path: Path) -> None:
    """It stays on the server's own list until it is."""
    run = Run(scan_id=1)
    *documents, stop = run.whole(ROWS, KEYS)
    with open_site(redis_url, tmp_path) as site:
        site.root.mkdir(exist_ok=True)
        with (
            TiledServer(redis_url, archive=site.root, catalog=tmp_path / "own.db") as server,
            connected(server) as client,
        ):
            site.give(documents)
            site.archive_elsewhere()
            started(client, run.uid)
            site.expire(run.uid)
            # seen as gone when one that comes after it is seen
            later = Run(scan_id=2)
            with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
                publish(writer, later.whole(ROWS, KEYS))
            stopped(client, later.uid)
            time.sleep(2 * SWEEP_SECONDS)
            assert list(client) == [run.uid, later.uid]
            # Redis does not take it, the journal does
            site.writer(*stop)
            site.writer.close()
            site.archive_elsewhere()
            assert eventually(lambda: client[run.uid].metadata.get("stop"))["num_events"] == {"primary": ROWS}
            assert _files(client.search(Eq("start.scan_id", 1))) == [site.hint(run.uid)]
            check_rows(client[run.uid])


def test_redis_is_away(root: Path, tmp_path: Path) -> None:
    kept, live = Run(scan_id=1), Run(scan_id=2)
    with RedisServer() as redis, TiledServer(redis.url, archive=_made(root).parent) as server:
        archived(redis.url, root, tmp_path / "journal", kept)
        with BlissdataWriter(redis.url, journal=tmp_path / "other") as writer:
            publish(writer, live.whole(ROWS, KEYS))
        with connected(server) as client:
            stopped(client, live.uid)
            redis.stop()
            assert list(client) == [kept.uid, live.uid]
            check_rows(client[kept.uid])
            answer = get(server, f"table/full/{live.uid}/primary/internal")
            assert (answer.status_code, "does not answer" in answer.json()["detail"]) == (503, True)
            assert list(client) == [kept.uid, live.uid]


def test_a_file_that_is_gone(two: tuple[Run, Run], redis_url: str, root: Path) -> None:
    first, second = two
    (file,) = root.rglob(f"{first.uid}.h5")
    file.unlink()
    with open_client(redis_url) as redis:
        redis.flushall()
    for url in (redis_url, None):
        with TiledServer(url, archive=root) as server, connected(server) as client:
            for path in ("search/{}", "metadata/{}/primary", "table/full/{}/primary/internal", "container/full/{}"):
                answer = get(server, path.format(first.uid))
                assert answer.status_code == 410, answer.text
                assert first.uid in answer.json()["detail"]
            assert get(server, f"metadata/{first.uid}").status_code == 200
            assert list(client) == [first.uid, second.uid]
            check_rows(client[second.uid])


def test_files_alone_make_the_catalog(two: tuple[Run, Run], root: Path) -> None:
    catalog_of(root).unlink()
    result = CliRunner().invoke(app, ["register", str(root)])
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert f"runs listed in {root}/catalog.db: 2; other files: 0" in result.output
    with TiledServer(archive=root) as server, connected(server) as client:
        assert list(client) == [run.uid for run in two]
        for run in two:
            assert client[run.uid].metadata["start"]["scan_id"] == run.start[1]["scan_id"]
            assert client[run.uid].metadata["stop"]["num_events"] == {"primary": ROWS}
            check_rows(client[run.uid])


def test_registering_takes_the_files_as_they_are(two: tuple[Run, Run], root: Path, tmp_path: Path) -> None:
    first, second = two
    (old,) = root.rglob(f"{first.uid}.h5")
    (other,) = root.rglob(f"{second.uid}.h5")
    # without the uid in its name, it is found by what is registered alone
    moved = root / "z" / "renamed.h5"
    moved.parent.mkdir()
    old.rename(moved)
    shutil.copy(other, root / f".{other.name}.new.h5")
    with h5py.File(root / "detector.h5", "w"), h5py.File(tmp_path / "outside.h5", "w"):
        pass
    (root / "notes.txt").write_text("nothing")
    (root / "linked.h5").symlink_to(tmp_path / "outside.h5")
    (root / "linked").symlink_to(tmp_path, target_is_directory=True)
    new = tmp_path / "new.db"
    command = ["register", str(root), "--catalog", str(new), "-v"]
    for _ in range(2):
        result = CliRunner().invoke(app, command)
        assert (result.exit_code, result.stderr) == (0, f"{root}/detector.h5 is no archived run\n"), result.output
        assert ": 2; other files: 1" in result.output
        with TiledServer(archive=root, catalog=new) as server, connected(server) as client:
            assert list(client) == [first.uid, second.uid]
            assert _files(client) == [moved.relative_to(root).as_posix(), other.relative_to(root).as_posix()]
            check_rows(client[first.uid])
        moved = moved.rename(root / moved.name)


def test_runs_are_spooled_in_the_order_of_time() -> None:
    order = [5, 3, 9, 1, 7]
    with Spool() as spool:
        for number in order:
            spool.put(made_up(number, archived=True))
        spool.put(Registration("timeless", {"time": "noon"}, incomplete="why", file="a"))
        timeless, *others = spool.in_order()
        assert timeless == Registration("timeless", {"time": "noon"}, None, "why", "a")
        assert others == [made_up(number, archived=True) for number in sorted(order)]
        assert len(spool) == 6


def _files(client: Any) -> list[str]:
    return [client[uid].data_sources()[0].parameters["file"] for uid in client]


def test_what_cannot_be_read_is_told_and_the_rest_is_listed(two: tuple[Run, Run], root: Path) -> None:
    first, second = two
    (file,) = root.rglob(f"{first.uid}.h5")
    with h5py.File(file, "r+") as opened:
        opened.attrs["bluesky_format"] = 1000
    (root / "empty.h5").write_bytes(b"")
    (root / os.fsdecode(b"latin\xe9.h5")).write_bytes(b"")
    (copied,) = root.rglob(f"{second.uid}.h5")
    shutil.copy(copied, root / "copy.h5")
    new = root / "new.db"
    result = CliRunner().invoke(app, ["register", str(root), "--catalog", str(new)])
    assert result.exit_code == 1
    assert ": 1; other files: 0" in result.stdout
    told = result.stderr.splitlines()
    assert len(told) == 5, told
    assert told[-1].endswith("why 4 could not be listed")
    for words in ("is in copy.h5 and again in ", "/empty.h5 cannot be read", "not UTF-8", "has format 1000"):
        assert sum(words in line for line in told) == 1, (words, told)
    with TiledServer(archive=root, catalog=new) as server, connected(server) as client:
        assert list(client) == [second.uid]


def test_runs_whose_files_are_gone_are_taken_off_the_list(
    two: tuple[Run, Run], redis_url: str, root: Path, tmp_path: Path
) -> None:
    """Not those that cannot be read, have another format or a new place, and no live ones."""
    first, second = two
    gone, live = Run(scan_id=3), Run(scan_id=4)
    archived(redis_url, root, tmp_path / "journal", gone)
    with Registrar(catalog_of(root)) as registrar:
        registrar.register([Registration(live.uid, live.start[1]), Registration("odd", {}, file="a/\0")])
        registrar.register(made_up(number, archived=True) for number in range(1200))
    file, moved, newer = (next(root.rglob(f"{run.uid}.h5")) for run in (gone, first, second))
    file.unlink()
    moved.rename(root / moved.name)
    with h5py.File(newer, "r+") as opened:
        opened.attrs["bluesky_format"] = 1000
    result = CliRunner().invoke(app, ["register", str(root)])
    assert result.exit_code == 1
    assert f"runs listed in {root}/catalog.db: 1; removed, for their files are gone: 1201; other" in result.stdout
    with sqlite3.connect(catalog_of(root)) as database:
        listed = {uid for (uid,) in database.execute("select key from nodes where key != ''")}
        (sources,) = database.execute("select count(*) from data_sources").fetchone()
    database.close()
    assert listed == {first.uid, second.uid, live.uid, "odd"}
    assert sources == 4
    assert "removed" not in CliRunner().invoke(app, ["register", str(root)]).stdout


def test_a_directory_below_the_root_takes_nothing_off_the_list_of_the_archive(
    two: tuple[Run, Run], root: Path, tmp_path: Path
) -> None:
    first, second = two
    (file,) = root.rglob(f"{first.uid}.h5")
    part = root / "part"
    part.mkdir()
    file.rename(part / file.name)
    listed = str(catalog_of(root))
    result = CliRunner().invoke(app, ["register", str(part), "--catalog", listed])
    assert (result.exit_code, "removed" in result.stdout) == (0, False), result.output
    with TiledServer(archive=root) as server, connected(server) as client:
        assert list(client) == [first.uid, second.uid]


def test_what_has_another_file_by_now_stays_on_the_list(tmp_path: Path) -> None:
    run = made_up(1, archived=True)
    with Registrar(tmp_path / "catalog.db") as registrar:
        registrar.register([run])
        again = run._replace(file="elsewhere.h5")

        def is_lost(file: str) -> bool:
            # an archiver is faster
            with Registrar(tmp_path / "catalog.db") as other:
                other.register([again])
            return True

        assert registrar.remove_lost(is_lost) == 0
        assert registrar.remove_lost(lambda _: True) == 1


def test_a_mount_point_without_its_disk(two: tuple[Run, Run], root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "disk")
    root.mkdir()
    elsewhere = ["--catalog", str(tmp_path / "elsewhere.db")]
    for command in (["register", str(root)], ["serve", "--archive", str(root), "--port", "0"]):
        for options in ([], elsewhere):
            result = CliRunner().invoke(app, [*command, *options])
            assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
            assert f"nothing was ever archived in {root}, or its disk is not mounted" in result.stderr
    assert list(root.iterdir()) == []
    # a copy of files alone is an archive
    shutil.copy(next((tmp_path / "disk").rglob(f"{two[0].uid}.h5")), root)
    assert CliRunner().invoke(app, ["register", str(root)]).exit_code == 0


@pytest.mark.parametrize("where", [0, 100, 4096])
def test_a_damaged_catalog_is_moved_away_and_made_again(root: Path, where: int) -> None:
    root.mkdir()
    catalog = catalog_of(root)
    with Registrar(catalog) as registrar:
        registrar.register(made_up(number, archived=True) for number in range(500))
    sqlite3.connect(catalog).close()
    with catalog.open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * (catalog.stat().st_size - where))
    for command in (["register", str(root)], ["serve", "--archive", str(root), "--port", "0"]):
        result = CliRunner().invoke(app, command)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert "move it away" in result.stderr
        assert "register" in result.stderr
    catalog.rename(root / "moved-away")
    (root / ".archive-id").touch()
    assert CliRunner().invoke(app, ["register", str(root)]).exit_code == 0


@pytest.mark.parametrize(("catalog", "words"), [("", "it is empty"), (".", "is a directory")])
@pytest.mark.parametrize("command", ["register", "archive"])
def test_a_catalog_that_is_no_file(root: Path, tmp_path: Path, command: str, catalog: str, words: str) -> None:
    root.mkdir()
    (root / ".archive-id").touch()
    options = [str(root)] if command == "register" else ["--root", str(root), "--journal", str(tmp_path)]
    result = CliRunner().invoke(app, [command, *options, "--catalog", catalog])
    assert result.exit_code == 2
    assert words in result.stderr


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for command in (["register", str(missing)], ["serve", "--archive", str(missing), "--port", "0"]):
        result = CliRunner().invoke(app, command)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert f"the archive {missing} cannot be read (No such file or directory)" in result.stderr
    with pytest.raises(ArchiveError, match="missing"):
        tree_from_uri(archive=missing)
    with pytest.raises(ValueError, match="nothing to serve"):
        tree_from_uri()
    assert CliRunner().invoke(app, ["serve"]).exit_code == 2
    alone = CliRunner().invoke(app, ["serve", "--archive", str(tmp_path), "--journal", str(tmp_path)])
    assert (alone.exit_code, "--redis" in alone.stderr) == (2, True)


def test_the_command_says_what_it_serves(two: tuple[Run, Run], redis_url: str, root: Path) -> None:
    program = str(Path(sys.executable).with_name("blissdata-bluesky"))
    line = [program, "serve", "--redis", redis_url, "--archive", str(root), "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = list(takewhile("Ctrl-C ends it.\n".__ne__, process.stdout))
            assert {f"  live    runs of {redis_url}\n", f"  archive runs of {root}\n"} < {*said}, said
            found = re.search(r'from_uri\("(.*)"\)', "".join(said))
            assert found, said
            with dask.config.set(scheduler="synchronous"):
                client = from_uri(found[1])
                assert list(client) == [run.uid for run in two]
                check_rows(client[two[0].uid])
                client.context.http_client.close()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
