"""The commands `journal ls | replay | export`, as they are typed, with publishers that were killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import redis
from blissdata import DataStore, ScanState
from typer.testing import CliRunner

from blissdata_bluesky.cli import app
from blissdata_bluesky.journal import Fate, JournalDirectory, RunJournal
from blissdata_bluesky.protocol import (
    documents_key,
    load_json,
    scan_key,
    state_pk,
    stream_key,
    stream_pk,
)
from blissdata_bluesky.writer import BlissdataWriter

from .collected import load
from .published import SCALARS, Published
from .test_recovery import UID, killed
from .tiled_runs import Run, eventually, publish


def command(*arguments: object, answer: str = "", width: int = 120) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(app, ["journal", *map(str, arguments)], input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def listed(directory: Path) -> list[dict[str, Any]]:
    code, output, _ = command("ls", "--journal", directory, "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(output)
    return found


def states(client: redis.Redis, uid: str) -> list[int]:
    return [int(fields[b"state"]) for _, fields in client.xrange(stream_key(state_pk(uid)))]


class TestLs:
    def test_what_has_become_of_each(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 0, stopped=False)
        with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
            published = Published(writer, SCALARS, plan_name="grid_scan", scan_id=7)
            published.events(3)
            assert writer.flush(90)
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
        assert finished["in_words"] == "finished, kept 7 d"
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

    def test_finished_runs_take_one_line_each_in_a_narrow_terminal(
        self, writer: BlissdataWriter, tmp_path: Path
    ) -> None:
        for number in (1, 1234):
            publish(writer, Run(plan_name="grid_scan", scan_id=number).whole(1000, SCALARS))
        output = command("ls", "--journal", tmp_path / "journal", width=80)[1]
        lines = output.splitlines()
        assert max(map(len, lines[:3])) <= 80
        assert all(re.fullmatch(r"\w{8} .* finished, kept 7 d *", line) for line in lines[1:3])
        assert lines[3] == ""

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
            code, output, error = command("replay", UID, "--redis", redis_url, "--journal", tmp_path)
            assert states(client, UID) == before
        assert error == "", "the result was told twice"
        assert (code, output) == (0, f"run {UID}: Redis has all of it already\n")
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

    def test_a_data_stream_that_was_deleted_comes_again(self, redis_url: str, tmp_path: Path) -> None:
        killed(redis_url, tmp_path, 5, 5, stopped=True)
        command("replay", "--all", "--redis", redis_url, "--journal", tmp_path)
        with redis.Redis.from_url(redis_url) as client:
            client.unlink(stream_key(stream_pk(UID, "primary:number")))
        code, output, _ = command("replay", UID, "--redis", redis_url, "--journal", tmp_path)
        assert "already" not in output
        assert code == 0
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
            assert "belongs to another publisher" in error
        assert [one["fate"] for one in listed(tmp_path / "one")] == ["abandoned"]
        # the remedy does what it says
        [(method, key)] = re.findall(r"DataStore\(url\)\.(\w+)\('([^']*)', force=True\)", output)
        getattr(DataStore(redis_url), method)(key, force=True)
        assert command("replay", UID, "--redis", redis_url, "--journal", tmp_path / "one")[0] == 0
        assert load(redis_url, UID).state == ScanState.CLOSED

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
                assert process.wait(60) == 130
        finally:
            redis_client.config_set("maxmemory", 0)
        assert command("replay", "--all", "--redis", redis_url, "--journal", tmp_path)[0] == 0
        assert len(load(redis_url, UID).streams["primary:number"]) == 5

    def test_a_server_that_is_away_is_not_waited_for(self, tmp_path: Path) -> None:
        code, _, error = command("replay", "--all", "--redis", "redis://127.0.0.1:1", "--journal", tmp_path)
        assert (code, error.count("\n")) == (2, 1)
        assert "nothing usable answers" in error


class TestExport:
    def test_every_document_as_it_was_given(self, writer: BlissdataWriter, tmp_path: Path) -> None:
        run = Run(scan_id=1, odd={"nan": float("nan"), "bytes": b"\xff", "complex": 1 + 2j, "$type": "mine"})
        given = list(run.whole(5))
        publish(writer, given)
        code, output, error = command("export", run.uid, "--jsonl", "--journal", tmp_path / "journal")
        assert (code, error) == (0, "")
        assert_same([load_json(line) for line in output.splitlines()], given)

    def test_while_it_is_being_written(self, writer: BlissdataWriter, tmp_path: Path) -> None:
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
            process.wait(60)


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
