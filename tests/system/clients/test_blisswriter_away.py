"""What becomes of runs while blisswriter is away."""

from __future__ import annotations

from pathlib import Path

from blissdata_bluesky.journal import Fate, JournalDirectory
from blissdata_bluesky.writer import BlissdataWriter

from ..collected import load
from ..emitted import give, scalar_events, scalar_run
from .blisswriter import BlissWriter


def test_it_misses_runs_that_began_before_it(writer: BlissdataWriter, redis_url: str, tmp_path: Path) -> None:
    """It looks for new scans only, so a run that was open when it ended is lost to it; the journal keeps the run."""
    run = scalar_run(3, scan_id=1)
    give(writer, run.documents)
    with BlissWriter(redis_url, tmp_path / "second.log") as blisswriter:
        give(writer, [*scalar_events(run, range(3, 6)), *run.stop()])
        after = scalar_run(2, scan_id=2)
        after.stop()
        give(writer, after.documents)
        blisswriter.wait(after.uid)
        assert not blisswriter.says(run.uid, "Saving")
    assert not Path(load(redis_url, run.uid).path).exists()
    assert len(JournalDirectory(tmp_path / "journal").paths(Fate.FINISHED)) == 2
