"""A run of which its giver says that it is not whole (`BlissdataWriter.mark_incomplete`)."""

from __future__ import annotations

from pathlib import Path

from blissdata import ScanState

from blissdata_bluesky.archive import ArchivedFile
from blissdata_bluesky.connection import open_client
from blissdata_bluesky.publish import recover, replay
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .archive_site import open_site
from .collected import load
from .emitted import give, scalar_events, scalar_run
from .run_contract import assert_same_documents


def test_it_ends_as_a_failure_that_tells_the_last_reason_and_nothing_else_is_changed(
    redis_url: str, tmp_path: Path, runs: RedisRuns
) -> None:
    run = scalar_run(3)
    with open_site(redis_url, tmp_path) as site:
        site.give(run.documents)
        assert site.writer.mark_incomplete(run.uid, "first")
        site.give(scalar_events(run, range(3, 5)))
        assert site.writer.mark_incomplete(run.uid, "second")
        site.give(run.stop())
        info = load(redis_url, run.uid).info
        assert (info["end_reason"], info["bluesky"]["incomplete"]) == ("FAILURE", "second")
        found = runs.get(run.uid)
        assert found.incomplete == "second"
        assert_same_documents(found.documents(), run.documents)
        site.archive()
        view = ArchivedFile(site.file(run.uid)).look()
        assert (view.complete, view.incomplete) == (True, "second")
        assert [entry.name for entry in view.entries] == ["start", "descriptor", "stop"]


def test_the_reason_outlives_the_process_and_redis(redis_url: str, tmp_path: Path) -> None:
    run = scalar_run(3)
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        give(writer, run.documents)
        assert writer.mark_incomplete(run.uid, "documents did not arrive")
    recover(tmp_path, redis_url, 30)
    scan = load(redis_url, run.uid)
    assert scan.state == ScanState.CLOSED
    incomplete = scan.info["bluesky"]["incomplete"]
    assert incomplete.startswith("documents did not arrive; the process that published it")
    (path,) = tmp_path.glob("*.finished-journal")
    with open_client(redis_url) as client:
        client.flushall()
    replay(path, redis_url, 30)
    assert load(redis_url, run.uid).info["bluesky"]["incomplete"] == incomplete


def test_runs_that_are_not_open(redis_url: str, tmp_path: Path) -> None:
    run = scalar_run(1)
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        assert not writer.knows(run.uid)
        assert not writer.mark_incomplete(run.uid, "unknown")
        give(writer, run.documents)
        assert writer.knows(run.uid)
        give(writer, run.stop())
        assert not writer.mark_incomplete(run.uid, "over")
        # its journal is kept for some days
        assert writer.knows(run.uid)
        assert "incomplete" not in load(redis_url, run.uid).info["bluesky"]
    assert not writer.mark_incomplete(run.uid, "closed")
    with BlissdataWriter(redis_url, journal=tmp_path) as other:
        assert other.knows(run.uid)
