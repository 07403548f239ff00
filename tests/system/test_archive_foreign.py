"""Archived files that were tampered with, so that parts of them lie in other files: those are not looked into."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from blissdata_bluesky.archive import ArchivedFile, FileSpan
from blissdata_bluesky.errors import ArchiveFormatError

from .archived import Place, assert_archived
from .emitted import whole_run

ROWS = 5


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def archived(place: Place) -> Path:
    run = whole_run(ROWS)
    path = place.whole(run)
    place.archive()
    assert_archived(path, run)
    return path


def external_storage(file: h5py.File, path: str, elsewhere: Path) -> None:
    dataset = file[path]
    shape, dtype = dataset.shape, dataset.dtype
    elsewhere.write_bytes(b"secret".ljust(dataset.nbytes))
    del file[path]
    file.create_dataset(path, shape, dtype, external=[(str(elsewhere), 0, int(np.prod(shape)) * dtype.itemsize)])


def virtual(file: h5py.File, path: str, elsewhere: Path) -> None:
    move(file, path, elsewhere)
    with h5py.File(elsewhere, locking=False) as other:
        shape, dtype = other["moved"].shape, other["moved"].dtype
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource(str(elsewhere), "moved", shape)
    file.create_virtual_dataset(path, layout)


def external_link(file: h5py.File, path: str, elsewhere: Path) -> None:
    move(file, path, elsewhere)
    file[path] = h5py.ExternalLink(str(elsewhere), "/moved")


def soft_link(file: h5py.File, path: str, elsewhere: Path) -> None:
    external_link(file, path, elsewhere)
    file.move(path, "/innocent")
    file[path] = h5py.SoftLink("/innocent")


def link_to_a_pipe(file: h5py.File, path: str, elsewhere: Path) -> None:
    del file[path]
    os.mkfifo(elsewhere)
    file[path] = h5py.ExternalLink(str(elsewhere), "/moved")


def move(file: h5py.File, path: str, elsewhere: Path) -> None:
    with h5py.File(elsewhere, "w", locking=False) as other:
        file.copy(path, other, "moved")
    del file[path]


LINKS = [external_link, soft_link, link_to_a_pipe]
DATASETS = [external_storage, virtual, *LINKS]


def read(path: Path, name: str) -> Any:
    return ArchivedFile(path).read([FileSpan(name, 0, ROWS)])


# one that hangs holds all of HDF5 in this process
@pytest.mark.timeout(120)
@pytest.mark.parametrize("tamper", DATASETS)
@pytest.mark.parametrize("part", ["{number}", "{ragged}/shapes", "{ragged}/values", "{text}/shapes", "{text}/values"])
def test_rows_in_another_file(
    tmp_path: Path, archived: Path, tamper: Callable[[h5py.File, str, Path], None], part: str
) -> None:
    key = part.strip("{").partition("}")[0]
    where = {name: model["path"] for name, model in ArchivedFile(archived).look().data_streams.items()}
    path = part.format_map({key: where[f"primary:{key}"]})
    with h5py.File(archived, "r+", locking=False) as file:
        tamper(file, path, tmp_path / "elsewhere")
    with pytest.raises(ArchiveFormatError, match=f"{path.strip('/')} of .*which no run of ours has there"):
        read(archived, f"primary:{key}")
    # the others are the run's own
    assert len(read(archived, "primary:integer")[0]) == ROWS


@pytest.mark.timeout(120)
@pytest.mark.parametrize("tamper", LINKS)
@pytest.mark.parametrize("group", ["/0.1", "/0.1/bluesky", "/0.1/bluesky/documents", "/0.1/bluesky/streams"])
def test_groups_in_another_file(
    tmp_path: Path, archived: Path, tamper: Callable[[h5py.File, str, Path], None], group: str
) -> None:
    with h5py.File(archived, "r+", locking=False) as file:
        tamper(file, group, tmp_path / "elsewhere")
    with pytest.raises(ArchiveFormatError, match="which no run of ours has there"):
        ArchivedFile(archived).look()


def test_a_copy_by_other_programs_is_a_run_of_ours(tmp_path: Path, archived: Path) -> None:
    copy = tmp_path / "copy.h5"
    with h5py.File(archived, locking=False) as old, h5py.File(copy, "w") as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)
    assert ArchivedFile(copy).look() == ArchivedFile(archived).look()
    for one, other in zip(read(copy, "primary:ragged")[0], read(archived, "primary:ragged")[0], strict=True):
        np.testing.assert_array_equal(one, other)
