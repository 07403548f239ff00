"""P5: memory is bounded in bytes, whatever an outage lasts, and what waited in the journal arrives."""

from __future__ import annotations

import pytest

from benchmarks.faults import memory
from benchmarks.faults.memory import MB, Outage, endure

# what was given during the outage would take several times as much
ROOM = 128 * MB


def test_events_wait_in_the_journal_once_the_bound_is_reached_and_all_arrive() -> None:
    found = endure(Outage(seconds=3, rate=8000, limit=4 * MB))
    assert len(found.away) > 20, "the bound was reached long before the end"
    assert found.rows == found.events >= 24_000
    assert found.reason == "SUCCESS"
    assert found.errors == []
    assert found.peak_away - found.baseline < 24 * MB
    assert found.above_baseline < 4 * MB + ROOM


def test_images_wait_in_the_journal_too() -> None:
    found = endure(Outage(seconds=3, rate=100, limit=16 * MB, images=True))
    assert len(found.away) > 20
    assert found.rows == found.events >= 300
    assert found.reason == "SUCCESS"
    assert found.peak_away - found.baseline < 64 * MB
    assert found.above_baseline < 16 * MB + ROOM < found.events * MB


def test_without_a_journal_documents_are_given_up_past_the_bound() -> None:
    found = endure(Outage(seconds=2, rate=8000, limit=2 * MB, journal=False))
    assert 0 < found.rows < found.events
    assert len(found.errors) == 1
    assert "documents are lost" in found.errors[0]
    assert found.reason == "FAILURE"
    assert found.above_baseline < 2 * MB + ROOM


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", memory.LONG)
def test_memory_does_not_grow_over_minutes(kind: str) -> None:
    found = endure(memory.LONG[kind])
    assert abs(found.slope) < 5
    assert found.above_baseline < 2 * found.outage.limit + ROOM
    assert (found.rows == found.events) is found.outage.journal
