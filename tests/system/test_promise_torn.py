"""P8: a journal that was cut is recovered up to the cut, and the log says what was left out; see benchmarks/faults/torn.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from benchmarks.faults.torn import Outcome, check_recovery, recover_cuts, sample
from blissdata_bluesky.journal import Fate, JournalDirectory
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.publish import recover

from .published import levels


def assert_kept(outcome: Outcome, cases: int) -> None:
    assert (outcome.crashes, outcome.wrong) == ([], [])
    assert outcome.cases == cases


def test_journals_that_were_cut_somewhere(redis_url: str) -> None:
    assert_kept(recover_cuts(redis_url, 8), 8)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_journals_that_were_cut_in_many_places(redis_url: str) -> None:
    assert_kept(recover_cuts(redis_url, 150, seed=1), 150)


@pytest.mark.parametrize("records", [1, 2, 3, 6, 11, 12])
@pytest.mark.parametrize("more", [0, 5])
def test_a_journal_that_was_cut_at_or_behind_a_record(redis_url: str, tmp_path: Path, records: int, more: int) -> None:
    whole = sample(tmp_path, redis_url, rows=8)
    cut = min(whole.ends[records - 1] + more, len(whole.content))
    (tmp_path / whole.name).write_bytes(whole.content[:cut])
    outcome = Outcome()
    check_recovery(whole, tmp_path, redis_url, cut, outcome)
    assert_kept(outcome, 1)


def test_a_record_that_is_damaged_in_the_middle_ends_the_run_there(redis_url: str, tmp_path: Path) -> None:
    whole = sample(tmp_path, redis_url, rows=8)
    damaged = whole.ends[5] + 30
    content = bytearray(whole.content)
    content[damaged] ^= 1
    (tmp_path / whole.name).write_bytes(content)
    outcome = Outcome()
    check_recovery(whole, tmp_path, redis_url, damaged, outcome)
    assert_kept(outcome, 1)


def test_what_cannot_be_recovered_is_said_left_where_it_is_and_keeps_nobody_else(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = sample(tmp_path, redis_url)
    odd = {"empty": b"", "text": b"not a journal", "header": whole.content[: whole.ends[0] - 1]}
    for name, content in odd.items():
        (tmp_path / f"{name}.journal").write_bytes(content)
    (tmp_path / "directory.journal").mkdir()
    [sentence] = recover(tmp_path, redis_url, 30)
    assert whole.uid in sentence
    assert sorted(levels(caplog)) == ["ERROR"] * 3 + ["WARNING"]
    assert {path.stem for path in JournalDirectory(tmp_path).paths(Fate.UNFINISHED)} == set(odd)
    assert (tmp_path / "directory.journal").is_dir()
    with redis.Redis.from_url(redis_url) as client:
        assert client.exists(scan_key(whole.uid))
