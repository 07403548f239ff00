"""Where frames are in arrays of any layout, and parts of virtual datasets: against numpy and HDF5."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blissdata_bluesky.external.kinds import FrameKind
from blissdata_bluesky.external.layout import FrameLayout

from .test_external_hdf5 import announced

SETTINGS = settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
DTYPE = np.dtype("<i8")


def kind_of(*shape: int) -> FrameKind:
    return FrameKind(DTYPE, shape, is_exact=True, joined=False)


def key_text(key: Any) -> str:
    if isinstance(key, int):
        return str(key)
    return ":".join("" if edge is None else str(edge) for edge in (key.start, key.stop, key.step))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[int, ...], str, np.ndarray, tuple[int, ...]]:
    """The shape of an array, what is taken of it, that, and the shape of a frame of it."""
    shape = tuple(draw(st.lists(st.integers(2, 5), min_size=1, max_size=4)))
    keys: list[Any] = []
    for length in shape:
        start = draw(st.none() | st.integers(0, length - 1))
        step = draw(st.none() | st.integers(1, 3))
        keys.append(draw(st.integers(-length, length - 1) | st.just(slice(start, None, step)) | st.just(slice(None))))
    array = np.arange(math.prod(shape)).reshape(shape)
    taken = array[tuple(keys)]
    if taken.ndim == 0:
        return shape, ",".join(map(key_text, keys)), taken, ()
    axis = draw(st.integers(0, taken.ndim - 1))
    divisors = [each for each in range(1, taken.shape[axis] + 1) if taken.shape[axis] % each == 0]
    each = draw(st.sampled_from(divisors))
    # as long as frames of an inner axis are not taken for rows of an outer one
    row = taken.shape[axis + 1 :]
    return shape, ",".join(map(key_text, keys)), taken, (each, *row) if each > 1 or draw(st.booleans()) else row


@SETTINGS
@given(layouts(), st.data())
def test_frames_in_any_order(
    layout: tuple[tuple[int, ...], str, np.ndarray, tuple[int, ...]], data: st.DataObject
) -> None:
    shape, part, taken, frame = layout
    frames = taken.reshape(-1, *frame)
    array = np.arange(math.prod(shape)).reshape(shape)
    found_layout = FrameLayout(shape, kind_of(*frame), part, "x")
    assert found_layout.count == len(frames)
    indices = data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=8))
    found = np.full((len(indices), *frame), -1)
    for rows, selection in found_layout.selections(indices):
        found[rows] = array[selection].reshape(found[rows].shape)
    assert np.array_equal(found, frames[indices])


@settings(SETTINGS, max_examples=40)
@given(layout=st.data())
def test_virtual_datasets_are_what_hdf5_makes_of_them(layout: st.DataObject, tmp_path_factory: Any) -> None:
    directory: Path = tmp_path_factory.mktemp("virtual")
    draw = layout.draw
    files, height = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rows, by_turns, beside = draw(st.integers(1, 4)), draw(st.booleans()), draw(st.booleans())
    stacked = files * rows
    shape = (rows, height * files, 2) if beside else (stacked, height, 2)
    virtual = h5py.VirtualLayout(shape, DTYPE)
    for number in range(files):
        values = np.arange(rows * height * 2).reshape(rows, height, 2) + 1000 * (number + 1)
        skipped = draw(st.integers(0, 2))
        with h5py.File(directory / f"{number}.h5", "w") as file:
            file["data"] = np.concatenate([np.zeros((skipped, height, 2), int), values])
        source = h5py.VirtualSource(f"{number}.h5", "data", (skipped + rows, height, 2))[skipped:]
        if beside:
            virtual[:, number * height : (number + 1) * height] = source
        elif by_turns:
            virtual[number::files] = source
        else:
            virtual[number * rows : (number + 1) * rows] = source
    with h5py.File(directory / "x.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("data", virtual)
    with h5py.File(directory / "x.h5") as file:
        expected = file["data"][()]
    key = {"dtype": "array", "dtype_numpy": DTYPE.str, "shape": list(shape[1:]), "external": "STREAM:"}
    record = announced(directory / "x.h5", directory, shape[0], key)
    wanted = draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=6))
    assert np.array_equal(record.read(), expected)
    assert np.array_equal(record.read(*wanted), expected[wanted])
