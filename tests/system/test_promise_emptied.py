"""P4: whenever and however Redis loses a run, it gets it again, and readers in mid-stream go on."""

from __future__ import annotations

import pytest

from benchmarks.faults.emptied import MOMENTS, WAYS, Outcome, lose


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("way", WAYS)
def test_redis_loses_a_run(moment: str, way: str) -> None:
    assert lose(moment, way) == Outcome(whole=True, same_entries=True, readers_went_on=True)
