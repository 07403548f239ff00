"""P6: a publisher that is killed leaves a run that is finished, and never looks complete."""

from __future__ import annotations

import pytest

from benchmarks.faults.dead import FINISHERS, Outcome, die
from blissdata_bluesky.server import RedisServer


@pytest.mark.parametrize("finisher", FINISHERS)
@pytest.mark.parametrize(("seconds", "emptied"), [(0.0, False), (0.15, False), (0.1, True)])
def test_a_publisher_is_killed(
    redis_server: RedisServer, redis_url: str, finisher: str, seconds: float, emptied: bool
) -> None:
    found = die(redis_server, seconds, finisher, emptied=emptied)
    assert found == Outcome(rows_kept=True, ended=True, marked=True)
