"""P7: one warning when an outage begins, one when it ends with what was caught up; nothing else, and no password."""

from __future__ import annotations

import pytest

from benchmarks.faults import log
from benchmarks.faults.log import Scan, Told, tell


def assert_told_once(told: Told) -> None:
    assert told.in_order, told.records
    assert len(told.outages) == 1, told.records
    assert told.counted, (told.outages, told.during, told.after)
    assert told.secret
    assert told.whole


@pytest.mark.parametrize("kind", [kind for kind in log.KINDS if kind != log.FLAPPING])
def test_an_outage_of_several_busy_runs_is_told_of_twice(kind: str) -> None:
    told = tell(kind, Scan.BUSY)
    assert_told_once(told)
    assert told.during


@pytest.mark.parametrize("kind", ["SIGKILL", "connections: hang", "FLUSHALL"])
def test_the_number_of_documents_that_were_caught_up_is_exact(kind: str) -> None:
    told = tell(kind, Scan.PAUSED)
    assert_told_once(told)
    assert told.outages == [told.during]


@pytest.mark.parametrize("kind", ["connections: refuse", "SIGKILL", "FLUSHALL"])
def test_an_outage_between_two_documents_is_told_of_twice_too(kind: str) -> None:
    told = tell(kind, Scan.IDLE)
    assert_told_once(told)
    assert told.outages == [0]


def test_a_connection_that_comes_and_goes_is_told_of_in_pairs() -> None:
    told = tell(log.FLAPPING, Scan.PAUSED)
    assert told.in_order, told.records
    assert sum(told.outages) == told.during
    assert told.whole


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scan", Scan)
def test_every_kind_of_outage_is_told_of_in_every_kind_of_scan(scan: Scan) -> None:
    for kind in log.kinds(scan):
        told = tell(kind, scan)
        assert told.in_order and told.counted and told.secret and told.whole, (kind, told)
