"""P3: the directory of journals that the writers of a history share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from blissdata_bluesky.errors import JournalError
from blissdata_bluesky.journal import Fate, JournalDirectory, JournalReader
from blissdata_bluesky.names import run_uuid, ulid


def set_aside(directory: Path, uid: str = "") -> list[Path]:
    """Journals that nobody publishes, those whose runs were taken whole first; of one run, or of all."""
    journals = JournalDirectory(directory)
    paths = journals.paths(Fate.FINISHED) + journals.paths(Fate.ABANDONED)
    return [path for path in paths if not uid or path.name.startswith(ulid(run_uuid(uid)))]


def damage_marks(directory: Path, how: str) -> None:
    """Tear or remove those of journals that nobody owns: then they are cut into other batches than before."""
    for journal in _unfinished(directory):
        marks = journal.path.with_suffix(".marks")
        if how == "kept" or journal.owned or not marks.exists():
            continue
        if how == "torn":
            os.truncate(marks, marks.stat().st_size // 2)
        else:
            marks.unlink()


def _unfinished(directory: Path) -> Iterator[JournalReader]:
    for path in JournalDirectory(directory).paths(Fate.UNFINISHED):
        # whoever owns it may just have set it aside
        with suppress(JournalError), JournalReader(path) as journal:
            yield journal
