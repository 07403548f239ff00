"""A run that was abandoned has an end, also when its writer ends before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from blissdata_bluesky.journal import Fate, JournalDirectory
from blissdata_bluesky.publish import recover
from blissdata_bluesky.writer import BlissdataWriter

from .published import SCALARS, Published, levels


def test_an_abandoned_run_is_not_tried_again(redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path / "first") as first:
        published = Published(first, SCALARS)
        published.events(3)
        assert first.flush(90)
        with BlissdataWriter(redis_url, journal=tmp_path / "second") as second:
            second("start", published.run.start[1])
            assert not second.flush(90)
        published.stop()
        published.assert_whole(redis_url)
    directory = JournalDirectory(tmp_path / "second")
    assert (len(directory.paths(Fate.ABANDONED)), directory.paths(Fate.UNFINISHED)) == (1, [])
    assert recover(tmp_path / "second", redis_url, 30) == []
    assert levels(caplog) == ["ERROR"]
