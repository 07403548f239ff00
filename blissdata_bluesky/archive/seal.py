"""The last step of a file: compressed, verified, on the disk, and in its place at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from .columns import Progress
from .durable import sync
from .format import COLUMNS, COMPLETE_ATTRIBUTE, GROUP_ATTRIBUTE, INCOMPLETE_ATTRIBUTE, text_attribute
from .nexus import Layout, write_layout
from .place import new_path
from .repack import repack
from .shown import show_columns
from .verify import differences


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of a run when all its rows are in the file."""

    layout: Layout
    """With the end."""
    streams: Mapping[str, Mapping[str, Any]]
    columns: Mapping[str, str]
    """Where each data stream is."""
    progress: Progress
    """What every dataset must hold."""
    incomplete: str
    """Why the run is not whole, or ""."""


def seal(path: Path, ending: Ending, root: Path) -> list[str]:
    """Put the sealed file in the place of the one that grew; or say what is wrong with it: one sentence per dataset.

    `root`: of the archive; the directories between are on the disk as well. Raises OSError and what else HDF5 raises;
    then, too, the file that grew stays as it was.
    """
    new = new_path(path)
    try:
        repack(path, new)
        with h5py.File(new, "r+", locking=False) as file:
            _finish(file, ending)
        if wrong := differences(new, ending.progress):
            return wrong
        with h5py.File(new, "r+", locking=False) as file:
            file.attrs[COMPLETE_ATTRIBUTE] = True
        sync(new)
        new.replace(path)
        _sync_directories(path.parent, root)
        return []
    finally:
        new.unlink(missing_ok=True)


def _sync_directories(lowest: Path, root: Path) -> None:
    # whoever made them may have been killed before they were on the disk
    for directory in (lowest, *lowest.parents):
        sync(directory)
        if directory == root:
            return


def _finish(file: h5py.File, ending: Ending) -> None:
    write_layout(file, ending.layout)
    file.attrs[INCOMPLETE_ATTRIBUTE] = ending.incomplete
    manifest = json.dumps({name: written._asdict() for name, written in ending.progress.items()})
    write_layout(file[text_attribute(file, GROUP_ATTRIBUTE)], {"children": {COLUMNS: manifest}})
    show_columns(file, ending.streams, ending.columns)
