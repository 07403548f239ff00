"""The commands `journal ls | replay | repair | export`, as they are typed, with publishers that were killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from blissdata import DataStore, ScanState
from typer.testing import CliRunner

from blissdata_bluesky.cli import app
from blissdata_bluesky.journal import Fate, JournalDirectory, RunJournal
from blissdata_bluesky.protocol import (
    NumericEncoding,
    documents_key,
    encode,
    load_json,
    scan_key,
    state_pk,
    stream_key,
    stream_pk,
)
from blissdata_bluesky.publish.repair import close_run, list_open_runs
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .collected import load
from .published import SCALARS, Published
from .test_recovery import UID, killed
from .tiled_runs import Run, eventually, publish

IDENTITY = {"name": "bliss", "number": 7, "data_policy": "no_policy", "session": "s", "dataset": "d"}


def command(*arguments: object, answer: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["journal", *map(str, arguments)], input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def listed(directory: Path) -> list[dict[str, Any]]:
    code, output, _ = command("ls", "--journal", directory, "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(output)
    return found


def lost(url: str, journal: Path, *, stopped: bool = False) -> None:
    """A run that is open in Redis, and whose journal is nowhere."""
    killed(url, journal, 10, 0, stopped=stopped)
    for path in journal.iterdir():
        path.unlink()


def states(client: redis.Redis, uid: str) -> list[int]:
    return [int(fields[b"state"]) for _, fields in client.xrange(stream_key(state_pk(uid)))]


class TestLs:
    def test_what_has_become_of_each(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 0, stopped=False)
        with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
            published = Published(writer, SCALARS, plan_name="grid_scan", scan_id=7)
            published.events(3)
            assert writer.flush(10)
            [left_over] = listed(tmp_path)
            [owned] = listed(tmp_path / "other")
            published.stop()
        [finished] = listed(tmp_path / "other")
        assert (left_over["uid"], left_over["fate"], left_over["owned"]) == (UID, "unfinished", False)
        assert left_over["in_words"].startswith("left over by ")
        assert left_over["size"] == Path(left_over["path"]).stat().st_size
        assert (owned["plan_name"], owned["scan_id"], owned["unsent"]) == ("grid_scan", 7, 0)
        assert owned["in_words"] == f"publishing now: {owned['owner']}"
        assert owned["owner"].endswith(f":{os.getpid()}")
        assert (finished["fate"], finished["unsent"]) == ("finished", 0)
        assert "kept until" in finished["in_words"]
        assert command("replay", "--redis", redis_url, "--journal", tmp_path, UID)[0] == 0

    def test_documents_that_wait_for_redis_are_counted(self, tmp_path: Path) -> None:
        with BlissdataWriter("redis://127.0.0.1:1", journal=tmp_path) as writer:
            published = Published(writer, SCALARS)
            # what the publisher has taken, and tries to send again and again, counts as sent
            [first] = eventually(lambda: published.events(1) or [one for one in listed(tmp_path) if one["unsent"]])
            published.events(100)
            [then] = listed(tmp_path)
            assert 0 < first["unsent"] < then["unsent"] <= then["size"]
            writer.close(0)

    def test_a_table_for_people(self, redis_url: str, tmp_path: Path) -> None:
        with BlissdataWriter(redis_url, journal=tmp_path) as writer:
            runs = [Published(writer, SCALARS, plan_name=f"plan_{number}", scan_id=number) for number in range(2)]
            for run in runs:
                run.stop()
        (tmp_path / "x.journal").write_bytes(b"nonsense")
        code, output, _ = command("ls", "--journal", tmp_path)
        assert code == 0
        assert all(run.run.uid in output for run in runs)
        assert all(words in output for words in ("plan_0 #0", "plan_1 #1", "finished", "x.journal", "does not begin"))

    def test_nothing_is_made(self, tmp_path: Path) -> None:
        code, _, error = command("ls", "--journal", tmp_path / "none")
        assert (code, error.count("\n")) == (2, 1)
        assert not (tmp_path / "none").exists()
        assert command("ls", "--journal", tmp_path) == (0, f"no journals in {tmp_path}\n", "")

    def test_looking_makes_no_marks_and_takes_no_journal_away(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 0, 5, stopped=True)
        for marks in tmp_path.glob("*.marks"):
            marks.unlink()
        before = sorted(tmp_path.iterdir())
        assert listed(tmp_path)[0]["unsent"] > 0
        assert sorted(tmp_path.iterdir()) == before
        assert command("replay", "--redis", redis_url, "--journal", tmp_path, "--all")[0] == 0

    def test_a_journal_that_another_process_recovers_is_not_its_dead_owner_s(
        self, redis_url: str, tmp_path: Path
    ) -> None:
        killed(redis_url, tmp_path, 5, 0, stopped=True)
        adopted = RunJournal.adopt(JournalDirectory(tmp_path).paths()[0])
        assert "another process" in listed(tmp_path)[0]["in_words"]
        adopted.close()
        assert command("replay", "--redis", redis_url, "--journal", tmp_path, "--all")[0] == 0


class TestReplay:
    def test_a_run_that_is_left_over(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 5, stopped=True)
        code, output, _ = command("replay", UID[:6], "--redis", redis_url, "--journal", tmp_path)
        assert (code, output.count(UID)) == (0, 1)
        assert "10 rows, it is whole" in output
        assert load(redis_url, UID).state == ScanState.CLOSED

    def test_one_that_is_whole_already_stays_as_it_is(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 5, stopped=True)
        command("replay", UID, "--redis", redis_url, "--journal", tmp_path)
        with redis.Redis.from_url(redis_url) as client:
            before = states(client, UID)
            code, output, _ = command("replay", UID, "--redis", redis_url, "--journal", tmp_path)
            assert states(client, UID) == before
        assert (code, output) == (0, f"run {UID} is whole in Redis already; nothing had to be published\n")
        assert len(load(redis_url, UID).streams["primary:number"]) == 10

    def test_one_that_was_deleted_comes_again(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 5, stopped=True)
        command("replay", "--all", "--redis", redis_url, "--journal", tmp_path)
        with redis.Redis.from_url(redis_url) as client:
            client.unlink(scan_key(UID), documents_key(UID))
        [path] = JournalDirectory(tmp_path).paths(Fate.FINISHED)
        code, output, _ = command("replay", path, "--redis", redis_url)
        assert code == 0
        assert "10 rows" in output
        assert len(load(redis_url, UID).streams["primary:number"]) == 10

    def test_a_journal_for_another_redis(self, redis_url: str, tmp_path: Path) -> None:
        run = Run()
        with BlissdataWriter("redis://127.0.0.1:1", journal=tmp_path) as writer:
            writer(*run.start)
            writer.close(0)
        code, _, error = command("replay", run.uid, "--redis", redis_url, "--journal", tmp_path)
        assert (code, error.count("\n")) == (2, 1)
        assert "was published to redis://" in error

    def test_a_second_publisher_s_journal_is_a_failure(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path / "one", 5, 0, stopped=True)
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        killed(redis_url, tmp_path / "two", 5, 0, stopped=True)
        assert command("replay", UID, "--redis", redis_url, "--journal", tmp_path / "two")[0] == 0
        for arguments in (["--all"], [UID]):
            code, output, error = command("replay", *arguments, "--redis", redis_url, "--journal", tmp_path / "one")
            assert code == 1
            assert "could not be published" in output
            assert "belongs to publisher" in error
        assert [one["fate"] for one in listed(tmp_path / "one")] == ["abandoned"]

    def test_all(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 5, stopped=False)
        with BlissdataWriter("redis://127.0.0.1:1", journal=tmp_path) as writer:
            writer(*Run().start)
            writer.close(0)
        code, output, error = command("replay", "--all", "--redis", redis_url, "--journal", tmp_path)
        assert (code, output.count("\n")) == (0, 1)
        assert "10 rows, it is marked as incomplete" in output
        assert ":1/0: give its URL" in error
        assert "nothing is left over" in command("replay", "--all", "--redis", redis_url, "--journal", tmp_path)[1]

    def test_one_that_is_being_published(self, redis_url: str, writer: BlissdataWriter, tmp_path: Path) -> None:
        published = Published(writer, SCALARS)
        code, _, error = command("replay", published.run.uid, "--redis", redis_url, "--journal", tmp_path / "journal")
        assert (code, error.count("\n")) == (2, 1)
        assert "belongs to a process" in error
        published.stop()

    def test_what_is_not_there_or_not_the_only_one(
        self, redis_url: str, writer: BlissdataWriter, tmp_path: Path
    ) -> None:
        for ending in "ab":
            publish(writer, Run(uid=f"12345678-1111-2222-3333-44444444444{ending}").whole(1, SCALARS))
        place = ("--redis", redis_url, "--journal", tmp_path / "journal")
        for run, words in (("nope", "no journal of a run"), ("1234", "more than one"), ("no.journal", "no journal")):
            code, _, error = command("replay", run, *place)
            assert (code, error.count("\n")) == (2, 1)
            assert words in error
        for arguments in ([], ["1234", "--all"]):
            assert command("replay", *arguments, *place)[0] == 2

    def test_it_can_be_interrupted(self, redis_url: str, tmp_path: Path, redis_client: redis.Redis) -> None:
        killed(redis_url, tmp_path, 0, 5, stopped=True)
        redis_client.config_set("maxmemory", "1mb")
        line = [sys.executable, "-m", "blissdata_bluesky", "journal", "replay", UID, "--redis", redis_url]
        line += ["--journal", str(tmp_path)]
        try:
            with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                assert process.stderr is not None
                assert "is interrupted" in process.stderr.readline()
                process.send_signal(signal.SIGTERM)
                assert "stays in its journal" in process.stderr.read()
                assert process.wait(10) == 130
        finally:
            redis_client.config_set("maxmemory", 0)
        assert command("replay", "--all", "--redis", redis_url, "--journal", tmp_path)[0] == 0
        assert len(load(redis_url, UID).streams["primary:number"]) == 5

    def test_a_server_that_is_away_is_not_waited_for(self, tmp_path: Path) -> None:
        code, _, error = command("replay", "--all", "--redis", "redis://127.0.0.1:1", "--journal", tmp_path)
        assert (code, error.count("\n")) == (2, 1)
        assert "nothing usable answers" in error


class TestRepair:
    @pytest.fixture
    def client(self, redis_url: str) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(redis_url) as client:
            yield client

    def test_a_run_without_a_journal_is_listed_and_then_closed_once(
        self, redis_url: str, tmp_path: Path, client: redis.Redis
    ) -> None:
        lost(redis_url, tmp_path, stopped=False)
        place = ("--redis", redis_url, "--journal", tmp_path)
        code, output, _ = command("repair", *place)
        assert code == 0
        assert all(words in output for words in (UID, "run #0", "STARTED", "primary 10"))
        assert states(client, UID)[-1] == ScanState.STARTED, "listing closed it"
        assert load(redis_url, UID).info.get("end_reason") is None

        code, output, _ = command("repair", UID[:8], *place, "--yes")
        assert (code, output) == (0, f"run {UID} is sealed and closed, and marked as incomplete\n")
        scan = load(redis_url, UID)
        assert scan.state == ScanState.CLOSED
        assert all(stream.is_sealed() for stream in scan.streams.values())
        assert {len(stream) for stream in scan.streams.values()} == {10}
        assert scan.info["end_reason"] == "FAILURE"
        assert scan.info["end_time"]
        with RedisRuns(redis_url) as runs:
            run = runs.get(UID)
            assert run.closed
            assert run.stop is None
            assert "journal was not found" in run.incomplete
        after = states(client, UID)
        assert after[-2:] == [ScanState.STOPPED, ScanState.CLOSED]
        assert 0 < client.ttl(documents_key(UID)) <= 30 * 86400

        code, _, error = command("repair", UID, *place, "--yes")
        assert (code, error.count("\n")) == (2, 1)
        assert not close_run(client, redis_url, UID)
        assert states(client, UID) == after

    def test_readers_of_tiled_see_it(self, redis_url: str, tmp_path: Path, server: Any) -> None:
        import dask
        from tiled.client import from_uri

        with dask.config.set(scheduler="synchronous"):
            lost(redis_url, tmp_path)
            client = from_uri(server.url)
            assert "incomplete" not in eventually(lambda: client[UID]).metadata
            command("repair", UID, "--redis", redis_url, "--journal", tmp_path, "--yes")
            eventually(lambda: "incomplete" in client[UID].metadata)
            assert "stop" not in client[UID].metadata
            assert client[UID]["primary"].read().sizes["time"] == 10
            client.context.http_client.close()

    def test_a_living_writer_s_run_is_refused(
        self, redis_url: str, writer: BlissdataWriter, tmp_path: Path, client: redis.Redis
    ) -> None:
        published = Published(writer, SCALARS)
        published.events(3)
        assert writer.flush(10)
        place = ("--redis", redis_url, "--journal", tmp_path / "journal", "--yes")
        code, _, error = command("repair", published.run.uid, *place)
        assert (code, error.count("\n")) == (2, 1)
        assert f"is being published by {listed(tmp_path / 'journal')[0]['owner']}" in error
        code, output, _ = command("repair", "--idle", 0, *place)
        assert code == 0
        assert "no run is open in Redis without a journal here" in output
        assert ": 1 (see" in output
        published.stop()
        published.assert_whole(redis_url)

    def test_what_a_journal_can_finish_is_left_to_it(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 5, stopped=True)
        place = ("--redis", redis_url, "--journal", tmp_path)
        code, _, error = command("repair", UID, *place, "--yes")
        assert code == 2
        assert "journal replay --all" in error
        assert UID not in command("repair", "--idle", 0, "--yes", *place)[1]
        command("replay", "--all", *place)
        assert load(redis_url, UID).info["end_reason"] == "SUCCESS"

    def test_who_was_lively_just_now_is_asked_about(self, redis_url: str, tmp_path: Path, client: redis.Redis) -> None:
        lost(redis_url, tmp_path)
        place = ("--redis", redis_url, "--journal", tmp_path)
        for arguments in ([UID], ["--idle", 0]):
            code, _, error = command("repair", *arguments, *place, answer="n\n")
            assert (code, error.strip().endswith("Aborted.")) == (1, True)
        code, output, _ = command("repair", "--idle", 1000, *place, "--yes")
        assert (code, "closed" in output) == (0, False)
        assert states(client, UID)[-1] == ScanState.STARTED
        code, output, _ = command("repair", "--idle", 0, *place, answer="y\n")
        assert code == 0
        assert "is sealed and closed" in output

    def test_looking_does_not_end_an_idle_time(self, redis_url: str, tmp_path: Path, client: redis.Redis) -> None:
        lost(redis_url, tmp_path)
        eventually(lambda: list_open_runs(client, redis_url)[0].idle, 10)
        assert list_open_runs(client, redis_url)[0].idle
        assert close_run(client, redis_url, UID)

    def test_idle_times_that_redis_does_not_count(self, redis_url: str, tmp_path: Path, client: redis.Redis) -> None:
        lost(redis_url, tmp_path)
        client.config_set("maxmemory-policy", "allkeys-lfu")
        try:
            code, output, error = command("repair", "--idle", 0, "--yes", "--redis", redis_url, "--journal", tmp_path)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
        assert code == 0
        assert "unknown" in output
        assert "name those" in error
        assert states(client, UID)[-1] == ScanState.STARTED
        assert close_run(client, redis_url, UID)

    def test_scans_of_others_are_none_of_our_business(self, redis_url: str, tmp_path: Path) -> None:
        scan = DataStore(redis_url).create_scan(IDENTITY)
        code, output, _ = command("repair", "--idle", 0, "--yes", "--redis", redis_url, "--journal", tmp_path)
        assert code == 0
        assert "no run is open" in output
        assert scan.state == ScanState.CREATED
        scan.close()

    def test_columns_of_different_lengths_stay_so(self, redis_url: str, tmp_path: Path, client: redis.Redis) -> None:
        lost(redis_url, tmp_path)
        [entry] = encode(NumericEncoding(np.dtype("<f8")), 10, np.array([1.0]))
        client.xadd(stream_key(stream_pk(UID, "primary:number")), entry.fields, entry.id)
        assert list_open_runs(client, redis_url)[0].rows == {"primary": 10}
        assert close_run(client, redis_url, UID)
        scan = load(redis_url, UID)
        assert len(scan.streams["primary:number"]) == 11
        assert len(scan.streams["primary:integer"]) == 10
        with RedisRuns(redis_url) as runs:
            assert runs.get(UID).streams["primary"].rows() == 10

    def test_what_another_repair_began_is_ended(self, redis_url: str, tmp_path: Path, client: redis.Redis) -> None:
        lost(redis_url, tmp_path)
        client.xadd(stream_key(state_pk(UID)), {"state": int(ScanState.STOPPED)})
        before = states(client, UID)
        assert close_run(client, redis_url, UID)
        assert states(client, UID) == [*before, ScanState.CLOSED]
        assert all(stream.is_sealed() for stream in load(redis_url, UID).streams.values())

    def test_many_at_once_close_it_once(self, redis_url: str, tmp_path: Path) -> None:
        lost(redis_url, tmp_path)
        done: list[bool] = []

        def close() -> None:
            with redis.Redis.from_url(redis_url, protocol=2) as client:
                done.append(close_run(client, redis_url, UID))

        threads = [threading.Thread(target=close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with redis.Redis.from_url(redis_url) as client:
            assert states(client, UID)[-2:] == [ScanState.STOPPED, ScanState.CLOSED]
            assert states(client, UID).count(ScanState.STOPPED) == states(client, UID).count(ScanState.CLOSED) == 1
        assert sorted(done) == [False] * 7 + [True]

    def test_a_scan_that_is_deleted_meanwhile_is_not_raised(self, redis_url: str, client: redis.Redis) -> None:
        count = 25
        uids = open_runs_of_a_killed_writer(redis_url, count)
        outcomes = set()
        for index, uid in enumerate(uids):
            names = load(redis_url, uid).streams
            keys = [stream_key(stream_pk(uid, name)) for name in names]
            keys += [scan_key(uid), documents_key(uid), stream_key(state_pk(uid))]
            deletion = threading.Timer(0.02 * index / count, client.unlink, keys)
            deletion.start()
            with redis.Redis.from_url(redis_url, protocol=2) as other:
                outcomes.add(close_run(other, redis_url, uid))
            deletion.join()
            assert [key for key in keys if client.exists(key)] == []
        assert outcomes, "nothing was tried"

    def test_a_deleted_scan_stays_deleted(self, redis_url: str, tmp_path: Path, client: redis.Redis) -> None:
        lost(redis_url, tmp_path)
        # how blissdata says "deleted"; here the streams of the scan outlive it a little
        client.expire(scan_key(UID), 10)
        before = states(client, UID)
        assert not close_run(client, redis_url, UID)
        assert states(client, UID) == before
        assert 0 < client.ttl(scan_key(UID)) <= 10
        client.unlink(scan_key(UID))
        assert not close_run(client, redis_url, UID)
        assert states(client, UID) == before
        assert not client.exists(scan_key(UID))


def open_runs_of_a_killed_writer(url: str, count: int) -> list[str]:
    code = """
        import os, signal, sys
        from blissdata_bluesky.writer import BlissdataWriter
        from tests.system.tiled_runs import Run, row
        writer = BlissdataWriter(sys.argv[1], journal=None)
        for _ in range(int(sys.argv[2])):
            run = Run()
            for document in (run.start, run.describe(), run.event(row(0))):
                writer(*document)
            print(run.uid, flush=True)
        assert writer.flush(20)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    line = [sys.executable, "-c", textwrap.dedent(code), url, str(count)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()


class TestExport:
    def test_every_document_as_it_was_given(self, redis_url: str, writer: BlissdataWriter, tmp_path: Path) -> None:
        run = Run(scan_id=1, odd={"nan": float("nan"), "bytes": b"\xff", "complex": 1 + 2j, "$type": "mine"})
        given = list(run.whole(5))
        publish(writer, given)
        code, output, error = command("export", run.uid, "--jsonl", "--journal", tmp_path / "journal")
        assert (code, error) == (0, "")
        assert_same([load_json(line) for line in output.splitlines()], given)

    def test_while_it_is_being_written(self, redis_url: str, writer: BlissdataWriter, tmp_path: Path) -> None:
        published = Published(writer, SCALARS)
        published.events(3)
        code, output, error = command("export", published.run.uid, "--jsonl", "--journal", tmp_path / "journal")
        assert (code, output.count("\n"), error) == (0, 5, "")
        published.stop()

    def test_a_torn_end_is_left_out_and_said(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 0, 5, stopped=True)
        [path] = JournalDirectory(tmp_path).paths()
        os.truncate(path, path.stat().st_size - 3)
        code, output, error = command("export", path, "--jsonl")
        assert (code, output.count("\n")) == (1, 7)
        assert "torn or damaged" in error
        assert command("replay", "--all", "--redis", redis_url, "--journal", tmp_path)[0] == 0

    def test_to_a_file(self, writer: BlissdataWriter, tmp_path: Path) -> None:
        run = Run()
        publish(writer, run.whole(2, SCALARS))
        place = ("--jsonl", "--journal", tmp_path / "journal", "--output")
        assert command("export", run.uid, *place, tmp_path / "run.jsonl") == (0, "", "")
        assert (tmp_path / "run.jsonl").read_text().count("\n") == 5
        code, _, error = command("export", run.uid, *place, tmp_path / "no" / "run.jsonl")
        assert (code, error.count("\n")) == (2, 1)

    def test_a_reader_that_leaves_early_gets_no_traceback(self, writer: BlissdataWriter, tmp_path: Path) -> None:
        run = Run()
        publish(writer, run.whole(3000, SCALARS))
        line = [sys.executable, "-m", "blissdata_bluesky", "journal", "export", run.uid, "--jsonl"]
        line += ["--journal", str(tmp_path / "journal")]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline().startswith('{"name":"start"')
            process.stdout.close()
            assert process.stderr.read() == ""
            process.wait(10)


def assert_same(found: list[dict[str, Any]], given: list[tuple[str, dict[str, Any]]]) -> None:
    assert [document["name"] for document in found] == [name for name, _ in given]
    for one, (_, other) in zip(found, given, strict=True):
        assert_equal_values(one["doc"], dict(other))


def assert_equal_values(one: Any, other: Any) -> None:
    if isinstance(other, dict):
        assert set(one) == set(other)
        for key in other:
            assert_equal_values(one[key], other[key])
    elif isinstance(other, list | tuple | np.ndarray):
        assert isinstance(one, list)
        assert np.array_equal(one, other)
    elif isinstance(other, float) and np.isnan(other):
        assert np.isnan(one)
    else:
        assert one == other
