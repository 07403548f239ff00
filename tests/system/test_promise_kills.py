"""P2: what the callback has returned from survives the death of the process; see benchmarks/faults/kills.py."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks.faults.kills import NOWHERE, POLICIES, UID, Outcome, documents, figures, kill_writers
from blissdata_bluesky.journal import Fsync, JournalDirectory, JournalReader
from blissdata_bluesky.packing import unpack_document
from blissdata_bluesky.writer import BlissdataWriter


def assert_kept(outcome: Outcome, kills: int) -> None:
    assert outcome.kills == kills
    assert outcome.given > kills, "the writers must have come beyond the start document"
    assert (outcome.lost, outcome.changed) == (0, 0)


def test_no_document_is_lost_with_a_killed_process() -> None:
    assert_kept(kill_writers(15), 15)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_document_is_lost_with_many_killed_processes() -> None:
    assert all(figure.kept for figure in figures(short=False))
    assert_kept(kill_writers(240, seed=1), 240)


@pytest.mark.parametrize("fsync", POLICIES)
def test_whatever_reaches_the_disk_when_the_journal_has_it_at_once_and_no_file_stays_open(
    tmp_path: Path, fsync: Fsync
) -> None:
    def open_files() -> int:
        return sum(str(tmp_path) in str(link.resolve()) for link in Path("/proc/self/fd").iterdir())

    writer = BlissdataWriter(NOWHERE, journal=tmp_path, fsync=fsync)
    for count, (name, document) in enumerate(islice(documents(), 20), 1):
        writer(name, document)
        [path] = JournalDirectory(tmp_path).paths()
        with JournalReader(path) as reader:
            found = [unpack_document(payload) for _, payload in reader.records(reader.begin)]
        assert (len(found), found[-1][0]) == (count, name)
    writer("stop", {"uid": "stop", "run_start": UID, "time": 1.8e9, "exit_status": "success"})
    writer("start", {"uid": "another run", "time": 1.7e9})
    assert open_files() > 0
    writer.close(0)
    assert writer._publisher._thread is not None
    writer._publisher._thread.join(60)
    if writer._syncer._thread is not None:
        writer._syncer._thread.join(60)
    assert open_files() == 0
