"""The command `journal repair`, as it is typed: runs whose journals are nowhere."""

from __future__ import annotations

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

from blissdata_bluesky.protocol import (
    NumericEncoding,
    documents_key,
    encode,
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
from .test_cli_journal import command, listed, states
from .test_recovery import UID, killed
from .tiled_runs import eventually

IDENTITY = {"name": "bliss", "number": 7, "data_policy": "no_policy", "session": "s", "dataset": "d"}


def lost(url: str, journal: Path, *, stopped: bool = False) -> None:
    """A run that is open in Redis, and whose journal is nowhere."""
    killed(url, journal, 10, 0, stopped=stopped)
    for path in journal.iterdir():
        path.unlink()


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

    def test_a_living_writer_s_run_is_refused(self, redis_url: str, writer: BlissdataWriter, tmp_path: Path) -> None:
        published = Published(writer, SCALARS)
        published.events(3)
        assert writer.flush(90)
        place = ("--redis", redis_url, "--journal", tmp_path / "journal", "--yes")
        code, _, error = command("repair", published.run.uid, *place)
        assert (code, error.count("\n")) == (2, 1)
        assert f"is being published by {listed(tmp_path / 'journal')[0]['owner']}" in error
        code, output, _ = command("repair", "--idle", 0, *place)
        assert code == 0
        assert "no run is open in Redis without a journal here" in output
        assert ": 1 (`blissdata-bluesky journal ls`" in output
        assert "journal replay" not in output
        published.stop()
        published.assert_whole(redis_url)

    def test_what_a_journal_can_finish_is_left_to_it(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 5, stopped=True)
        place = ("--redis", redis_url, "--journal", tmp_path)
        code, _, error = command("repair", UID, *place, "--yes")
        assert code == 2
        assert "journal replay --all" in error
        output = command("repair", "--idle", 0, "--yes", *place)[1]
        assert UID not in output
        assert ": 1 (`blissdata-bluesky journal replay --all --redis URL`" in output
        assert "journal ls" not in output
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
        assert writer.flush(60)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    line = [sys.executable, "-c", textwrap.dedent(code), url, str(count)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()
