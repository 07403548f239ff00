"""The commands `redis` and `doctor`, as they are typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest
from blissdata.redis_engine.store import DataStore
from typer.testing import CliRunner

import blissdata_bluesky
from blissdata_bluesky.cli import app
from blissdata_bluesky.connection import open_client
from blissdata_bluesky.errors import RedisServerStartError
from blissdata_bluesky.journal import Header, JournalDirectory, RunJournal
from blissdata_bluesky.mapping import identity_from_start
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.publish import recover
from blissdata_bluesky.publish.database import connect
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .archived import TARGET, Place, add
from .emitted import EmittedRun, scalar_events, scalar_run
from .published import SCALARS, Published
from .test_recovery import UID, killed
from .test_trimming import archiving, end
from .tiled_runs import eventually

IDENTITY = {"name": "count", "number": 7, "data_policy": "no_policy", "session": "s", "dataset": "some-uid"}
COMMAND = [sys.executable, "-c", "from blissdata_bluesky.cli import app; app()"]


def run(*arguments: str, width: int = 200) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(app, [*arguments])
    return result.exit_code, result.output


def test_a_healthy_server(any_redis_url: str) -> None:
    code, output = run("doctor", "--redis", any_redis_url)
    assert code == 0, output
    assert "ReJSON, search" in output
    assert "no bound" in output
    assert "error" not in output


def test_open_scans_are_listed(redis_url: str) -> None:
    scan = DataStore(redis_url).create_scan(IDENTITY)
    code, output = run("doctor", "--redis", redis_url)
    assert code == 0
    assert "1 CREATED" in output
    assert all(word in output for word in ("count", "7", "some-uid", scan.key))
    scan.close()


def test_json(redis_url: str) -> None:
    code, output = run("doctor", "--redis", redis_url.replace("://", "://:@"), "--json")
    document = json.loads(output)
    assert code == 0
    assert document["ok"] is True
    assert document["url"] == redis_url
    assert document["redis"]["server"] == "Valkey"
    assert document["versions"]["blissdata-bluesky"] == blissdata_bluesky.__version__
    assert {"level", "subject", "message", "remedy"} == set(document["findings"][0])


def test_a_database_with_other_data_is_an_error(redis_url: str) -> None:
    with connect(redis_url) as client:
        client.delete("_PROTOCOL_VERSION_")
    code, output = run("doctor", "--redis", redis_url)
    assert code == 1
    assert "not initialised" in output


def test_a_database_that_no_writer_takes_is_an_error(redis_url: str) -> None:
    code, output = run("doctor", "--redis", f"{redis_url}/3")
    assert code == 1
    assert "/3 is not database 0, the only one that can be searched" in output


def test_scans_whose_version_key_is_gone_are_not_to_be_thrown_away(redis_url: str) -> None:
    scan = DataStore(redis_url).create_scan(IDENTITY)
    scan.close()
    with open_client(redis_url) as client:
        client.delete("_PROTOCOL_VERSION_")
        code, output = run("doctor", "--redis", redis_url)
        assert code == 1
        assert "FLUSHALL" not in output
        [command] = re.findall(r"`(SET [^`]*)`", output)
        client.execute_command(command)
    code, output = run("doctor", "--redis", redis_url)
    assert code == 0
    assert "1 CLOSED" in output


def test_an_unreachable_server_is_an_error_without_its_password() -> None:
    code, output = run("doctor", "--redis", "redis://ann:sesame@127.0.0.1:1")
    assert code == 1
    assert "redis://ann@127.0.0.1:1" in output
    assert "sesame" not in output


def test_without_a_url_the_packages_are_examined() -> None:
    code, output = run("doctor")
    assert code == 0
    assert re.search(rf"ok +blissdata-bluesky +{re.escape(blissdata_bluesky.__version__)}", output)
    assert re.search(r"ok +packages +\d+ in the tested ranges", output)
    assert "pydantic" not in output
    versions = json.loads(run("doctor", "--json")[1])["findings"]
    assert {"pydantic", "redis", "python"} <= {finding["subject"] for finding in versions}


def test_an_error_is_one_clean_line_and_its_traceback_is_for_those_who_ask(redis_server: RedisServer) -> None:
    taken = ("redis", "--port", str(redis_server.port))
    result = CliRunner().invoke(app, taken)
    assert result.exit_code == 2
    assert result.stderr.startswith("blissdata-bluesky: the Redis server cannot listen on port ")
    assert "Traceback" not in result.output
    assert isinstance(CliRunner().invoke(app, ("--debug", *taken)).exception, RedisServerStartError)


def test_version() -> None:
    assert run("--version") == (0, f"{blissdata_bluesky.__version__}\n")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_server_runs_until_it_is_asked_to_end(ending: signal.Signals, tmp_path: Path) -> None:
    command = [*COMMAND, "redis", "--maxmemory", "64mb", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=-1, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with open_client(url) as client:
            server = client.info("server")["process_id"]
            assert client.config_get("maxmemory")["maxmemory"] == str(64 * 2**20)
        # as a terminal does on Ctrl-C: to the whole process group
        os.killpg(process.pid, ending)
        assert process.wait(60) == 0
    assert not psutil.pid_exists(server)


def test_a_server_that_is_ended_by_something_else_is_no_success() -> None:
    with subprocess.Popen([*COMMAND, "redis"], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        with open_client(process.stdout.readline().split()[-1]) as client:
            client.shutdown(nosave=True)
        assert process.wait(60) == 1
        assert "was ended by something else" in process.stderr.read()


class TestJournals:
    def document(self, url: str, journal: Path) -> dict[str, Any]:
        code, output = run("doctor", "--redis", url, "--journal", str(journal), "--json")
        assert code == 0
        found: dict[str, Any] = json.loads(output)
        return found

    def test_what_a_killed_publisher_left(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 5, stopped=True)
        report = self.document(redis_url, tmp_path)
        assert (report["journal"]["left_over"], report["journal"]["publishing"]) == (1, 0)
        assert report["journal"]["unfinished"] == [UID]
        [warning] = [one for one in of(report, "journals") if one["level"] == "warning"]
        assert "journal replay --all" in warning["remedy"]
        [scans] = of(report, "scans")
        assert scans["level"] == "warning"
        assert scans["message"].startswith("1 STARTED; ")
        assert UID in scans["message"]
        assert "journal replay --all" in scans["remedy"]
        assert "journal repair" not in scans["remedy"]
        assert recover(tmp_path, redis_url, 10)
        report = self.document(redis_url, tmp_path)
        assert (report["journal"]["left_over"], report["journal"]["finished"]) == (0, 1)
        assert {one["level"] for one in [*of(report, "journals"), *of(report, "scans")]} == {"ok"}

    def test_what_has_to_be_typed_elsewhere_fits_into_a_narrow_terminal(self, redis_url: str, tmp_path: Path) -> None:
        journal = tmp_path / ("directory_of_journals-" * 6)
        killed(redis_url, journal, 5, 5, stopped=True)
        long = DataStore(redis_url).create_scan(IDENTITY | {"name": "a_plan_with_a_long_name" * 3})
        eventually(lambda: len(DataStore(redis_url).search_existing_scans()[1]) == 2)
        code, output = run("doctor", "--redis", redis_url, "--journal", str(journal), width=80)
        assert code == 0
        assert max(map(len, output.splitlines())) <= 80
        assert "…" not in output
        assert str(journal) in re.sub(r"\s", "", output)
        lines = {line.split("  ")[0].strip() for line in output.splitlines()}
        assert {UID, scan_key(UID), long.key} <= lines
        long.close()
        assert recover(journal, redis_url, 10)

    def test_a_run_that_is_being_published(self, redis_url: str, tmp_path: Path) -> None:
        with BlissdataWriter(redis_url, journal=tmp_path) as writer:
            published = Published(writer, SCALARS)
            published.events(3)
            assert writer.flush(90)
            report = self.document(redis_url, tmp_path)
            assert report["journal"]["publishing"] == 1
            assert report["journal"]["behind"] == []
            assert {one["level"] for one in [*of(report, "journals"), *of(report, "lag"), *of(report, "scans")]} == {
                "ok"
            }
            published.stop()

    def test_a_run_that_waits_for_its_redis(self, redis_url: str, tmp_path: Path) -> None:
        with RedisServer() as other:
            writer = BlissdataWriter(other.url, journal=tmp_path)
            published = Published(writer, SCALARS)
            assert writer.flush(90)
        published.events(10)
        eventually(lambda: JournalDirectory(tmp_path).fault())
        published.events(100)
        report = self.document(redis_url, tmp_path)
        [behind] = report["journal"]["behind"]
        assert behind["uid"] == published.run.uid
        assert behind["unsent"] > 0
        assert 0 <= behind["age"] < 60, "older than the journal"
        assert "interrupted" in of(report, "last fault")[0]["message"]
        assert any(f":{other.port}/0" in finding["message"] for finding in of(report, "journals"))
        code, output = run("doctor", "--journal", str(tmp_path))
        assert code == 0
        assert all(words in output for words in ("run behind", published.run.uid, "last fault"))
        writer.close(0)

    def test_an_open_scan_that_no_journal_here_belongs_to(self, redis_url: str, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with BlissdataWriter(redis_url, journal=tmp_path / "journal") as writer:
            published = Published(writer, SCALARS)
            assert writer.flush(90)
            [warning] = of(self.document(redis_url, tmp_path / "empty"), "scans")
            assert warning["level"] == "warning"
            assert published.run.uid in warning["message"]
            assert "journal repair" in warning["remedy"]
            assert "journal replay" not in warning["remedy"]
            published.stop()

    def test_a_directory_is_not_made(self, tmp_path: Path) -> None:
        code, output = run("doctor", "--journal", str(tmp_path / "none"))
        assert code == 0
        assert "there is no" in output
        assert not (tmp_path / "none").exists()
        assert list(tmp_path.iterdir()) == []


class TestArchiver:
    def document(self, place: Place) -> tuple[dict[str, Any], list[dict[str, str]]]:
        code, output = run("doctor", "--journal", str(place.journals), "--json")
        found: dict[str, Any] = json.loads(output)
        assert code == (not found["ok"])
        return found["journal"], of(found, "archiver")

    def levels(self, place: Place) -> list[str]:
        return [finding["level"] for finding in self.document(place)[1]]

    def test_nothing_is_to_be_archived_and_the_archive_is_not_imported(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        assert [finding["message"] for finding in self.document(place)[1]] == ["no run is to be archived"]
        asked = "print('blissdata_bluesky.archive' in sys.modules)"
        code = f"import sys; from blissdata_bluesky.cli import app; app(standalone_mode=False); {asked}"
        command = [sys.executable, "-c", code, "doctor", "--journal", str(place.journals)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith("False\n")

    def test_runs_wait_for_an_archiver_that_nobody_started(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        journal = place.begin(scalar_run(3).documents)
        _, [finding] = self.document(place)
        assert finding["level"] == "warning"
        assert f"`blissdata-bluesky archive --journal {place.journals} --root {place.root}`" in finding["remedy"]
        place.directory.finish(journal)
        assert self.levels(place) == ["warning"]
        assert "finished, kept until it is archived" in run("journal", "ls", "--journal", str(place.journals))[1]
        place.archive()
        assert "no journals" in run("journal", "ls", "--journal", str(place.journals))[1]
        # its owner wrote no stop document
        assert self.levels(place) == ["ok"]

    def test_an_archiver_that_stands_still_and_goes_on(self, tmp_path: Path) -> None:
        place, emitted = Place(tmp_path), scalar_run(3)
        journal = begin_long_ago(place, emitted)
        report, [finding] = self.document(place)
        assert finding["level"] == "error"
        assert "`blissdata-bluesky archive" in finding["remedy"]
        archiver = archiving(place.journals, place.root)
        try:
            eventually(lambda: self.levels(place) == ["ok"], 20)
            report, _ = self.document(place)
            assert [(one["uid"], one["unwritten"]) for one in report["unarchived"]] == [(emitted.uid, 0)]
            archiver.send_signal(signal.SIGSTOP)
            before = journal.path.stat().st_size
            add(journal, scalar_events(emitted, range(3, 1000)))
            report, [finding] = self.document(place)
            assert finding["level"] == "error"
            assert emitted.uid in finding["message"]
            assert "an archiver is at work" in finding["remedy"]
            [waiting] = report["unarchived"]
            assert waiting["unwritten"] == journal.path.stat().st_size - before
            assert waiting["file"] == str(place.path(emitted.documents[0][1]))
            assert 50 < waiting["age"] < 300
            archiver.send_signal(signal.SIGCONT)
            eventually(lambda: self.levels(place) == ["ok"], 20)
            add(journal, emitted.stop())
            place.directory.finish(journal)
            eventually(lambda: not self.document(place)[0]["unarchived"], 20)
        finally:
            end(archiver)

    def test_a_run_that_the_archiver_refuses(self, tmp_path: Path) -> None:
        place, emitted = Place(tmp_path), scalar_run(3)
        file = place.path(emitted.documents[0][1])
        file.parent.mkdir(parents=True)
        with h5py.File(file, "w") as other:
            other["somebody"] = "else's"
        place.directory.finish(place.begin(emitted.documents))
        place.archive()
        _, [finding] = self.document(place)
        assert finding["level"] == "error"
        assert all(words in finding["message"] for words in (emitted.uid, str(file), "it is left alone"))

    def test_an_archive_that_is_not_mounted(self, tmp_path: Path) -> None:
        """Whatever fault was noted after it."""
        place = Place(tmp_path)
        archiver = place.archiver()
        place.root.rename(tmp_path / "disk")
        place.root.mkdir()
        place.directory.finish(place.begin(scalar_run(3).documents))
        archiver.step()
        place.directory.note("of something else")
        _, [finding] = self.document(place)
        assert finding["level"] == "error"
        assert "is its disk mounted?" in finding["message"]
        assert "slow or full" not in finding["remedy"]
        place.root.rmdir()
        (tmp_path / "disk").rename(place.root)
        assert [one["message"] for one in self.document(place)[1]] == ["1 run is being archived"]
        archiver.close()
        # it looks, and makes nothing
        assert {path.name for path in place.root.iterdir()} == {".archive-id"}

    def test_what_is_torn_does_not_lag(self, tmp_path: Path) -> None:
        place, emitted = Place(tmp_path), scalar_run(3)
        journal = begin_long_ago(place, emitted)
        archiver = place.archiver()
        while archiver.step():
            pass
        with journal.path.open("ab") as torn:
            torn.write(b"BBJ1 and no more")
        assert self.levels(place) == ["ok"]
        archiver.close()


def begin_long_ago(place: Place, emitted: EmittedRun) -> RunJournal:
    """A journal whose documents a minute has gone by since."""
    start = emitted.documents[0][1]
    identity = {**identity_from_start(start), "path": str(place.path(start))}
    header = Header(emitted.uid, "publisher", TARGET, identity, str(place.root), created=time.time() - 60)
    journal = place.directory.create(header)
    assert journal is not None
    add(journal, emitted.documents)
    return journal


def of(report: dict[str, Any], subject: str) -> list[dict[str, str]]:
    return [finding for finding in report["findings"] if finding["subject"] == subject]
