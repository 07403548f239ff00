"""How far a run is archived: kept beside its journal, and changed at once or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ArchiveError
from ..journal import ARCHIVE_SUFFIX
from .columns import Written
from .durable import sync, write_text


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """What is in the file for good, whatever happens to the process that writes it."""

    offset: int = 0
    """Up to which byte the journal is in the file."""
    progress: dict[str, Written] = field(default_factory=dict)
    begun: bool = False
    """Whether a file at the path, be it unreadable, is one that we have made."""


def state_path(journal: Path) -> Path:
    """Where the state of a journal's run is kept."""
    return journal.with_suffix(ARCHIVE_SUFFIX)


def load_state(path: Path) -> ArchiveState:
    """The state that was saved last; of a file that is empty or damaged, that of a run which nobody has begun."""
    try:
        saved = json.loads(path.read_bytes())
        progress = {name: Written(*map(int, written)) for name, written in saved["progress"].items()}
        return ArchiveState(int(saved["offset"]), progress, begun=bool(saved["begun"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return ArchiveState()


def save_state(path: Path, uid: str, state: ArchiveState, *, durable: bool = False) -> None:
    """Keep the state of the run `uid`; `durable`: on the disk. Raises ArchiveError."""
    new = path.with_name(f"{path.name}-new")
    text = json.dumps({"offset": state.offset, "begun": state.begun, "progress": state.progress})
    try:
        if durable:
            write_text(new, text)
        else:
            new.write_text(text)
        new.replace(path)
        if durable:
            sync(path.parent)
    except OSError as error:
        raise ArchiveError(
            f"run {uid}: how far it is archived cannot be kept in {path} ({error.strerror}); its journal is kept. See to "
            f"it that there is free space in {path.parent}, and that the archiver may write there"
        ) from error
