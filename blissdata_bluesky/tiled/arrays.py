"""Array nodes: frames and spectra of a stream, and single columns of its table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from fastapi import HTTPException
from tiled.ndslice import NDBlock, NDSlice
from tiled.structures.array import ArrayStructure, BuiltinDtype, StructDtype
from tiled.structures.core import StructureFamily

from ..errors import RowsTrimmedError
from ..protocol import Array, Rows, dump_json
from .columns import texts
from .guard import as_answer
from .place import Place
from .viewer import Viewer, current_viewer

_CHUNK_BYTES = 16 * 2**20
# of a slice with steps, or through all frames, so much is held at a time
_PORTION_BYTES = 64 * 2**20
# Texts are served in one width, which a client keeps: it must not change with every longer text that comes.
_LEAST_WIDTH = 16


@dataclass(frozen=True, slots=True)
class ArrayRows:
    """Rows of one dtype and shape; `read(start, stop)` gives some of them and may wait."""

    read: Callable[[int, int], Array]
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    limiter: Callable[[], anyio.CapacityLimiter | None] = lambda: None
    """Gives, in the event loop, that of the threads in which `read` waits; None: the server's own."""


class ArrayNode:
    """`length` rows as an array.

    A client that knows an older structure sends the shape that it expects; it gets so many rows.
    """

    structure_family = StructureFamily.array
    specs = ()

    def __init__(
        self,
        place: Place,
        rows: ArrayRows,
        length: int,
        metadata: Mapping[str, Any],
        dims: Sequence[str] | None = None,
    ) -> None:
        self.node = place.node
        self.access_tags = place.access_tags
        self._rows = rows
        self._dtype = rows.dtype
        self._row_bytes = rows.dtype.itemsize * math.prod(rows.shape)
        self._chunk_rows = max(1, _CHUNK_BYTES // max(1, self._row_bytes))
        self._shape = (known_length(current_viewer.get(), length, self._chunk_rows), *rows.shape)
        self._metadata = dict(metadata)
        self._dims = None if dims is None else tuple(dims)

    def metadata(self) -> dict[str, Any]:
        return self._metadata

    def structure(self) -> ArrayStructure:
        kind = StructDtype if self._dtype.fields else BuiltinDtype
        chunks = (_chunks(self._shape[0], self._chunk_rows), *((length,) for length in self._shape[1:]))
        return ArrayStructure(kind.from_numpy_dtype(self._dtype), chunks, self._shape, self._dims)

    async def read(self, slice: NDSlice | None = None) -> Array:  # noqa: A002 - Tiled calls it so
        """A slice of the array; None: all of it. A slice that selects nothing, or too much, is refused with 400."""
        viewer = current_viewer.get()
        # Tiled's Zarr routes give a plain tuple
        wanted = NDSlice(slice)
        try:
            found: Array = await anyio.to_thread.run_sync(
                partial(self._read, wanted, viewer), limiter=self._rows.limiter()
            )
        except RowsTrimmedError as error:
            # Tiled takes every IndexError for a block that is out of range
            raise as_answer(error) from error
        return found

    async def read_block(self, block: NDBlock, slice: NDSlice | None = None) -> Array:  # noqa: A002 - Tiled calls it so
        """One chunk, or a slice of it."""
        chunks = self.structure().chunks
        rows = block.slice_from_chunks(chunks)[0]
        found = await self.read(NDSlice(rows, ...))
        return _sliced(found, slice) if slice else found

    def _read(self, wanted: NDSlice, viewer: Viewer) -> Array:
        rows, inner = self._resolve(wanted)
        one = np.broadcast_to(np.empty(()), self._shape[1:])[inner].shape
        if isinstance(rows, int):
            self._check(one, viewer)
            return np.asarray(self._gather(range(rows, rows + 1), inner)[0])
        expected = viewer.expected_shape
        if viewer.wants_array and expected and expected[1:] == one:
            rows = rows[: expected[0]]
        self._check((len(rows), *one), viewer)
        return self._gather(rows, inner)

    def _resolve(self, wanted: NDSlice) -> tuple[int | range, tuple[Any, ...]]:
        """The rows, and what of each row."""
        try:
            first, *inner = tuple((wanted or NDSlice(...)).expand_for_shape(self._shape))
        except (IndexError, ValueError) as error:
            raise HTTPException(400, f"This slice does not fit an array of shape {self._shape}: {error}") from error
        rows = first if isinstance(first, int) else range(self._shape[0])[first]
        return rows, tuple(inner)

    def _check(self, shape: tuple[int, ...], viewer: Viewer) -> None:
        if 0 in shape:
            raise HTTPException(400, f"There is nothing in this slice of an array of shape {self._shape}.")
        if viewer.wants_array and viewer.expected_shape not in (None, shape):
            raise HTTPException(422, f"This slice has the shape {shape}, not the expected {viewer.expected_shape}.")
        if math.prod(shape) * self._dtype.itemsize > viewer.bytes_limit:
            raise HTTPException(
                400,
                f"Response would exceed {viewer.bytes_limit}. Use slicing ('?slice=...') to request smaller chunks.",
            )

    def _gather(self, rows: range, inner: tuple[Any, ...]) -> Array:
        step = max(1, _PORTION_BYTES // max(1, self._row_bytes) // abs(rows.step))
        parts = [self._portion(rows[i : i + step], inner) for i in range(0, len(rows), step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _portion(self, rows: range, inner: tuple[Any, ...]) -> Array:
        low, high = min(rows[0], rows[-1]), max(rows[0], rows[-1])
        found = self._rows.read(low, high + 1)[:: abs(rows.step)]
        return (found if rows.step > 0 else found[::-1])[(slice(None), *inner)]


def _sliced(block: Array, wanted: NDSlice) -> Array:
    try:
        found: Array = block[tuple(wanted)]
    except (IndexError, ValueError, OverflowError) as error:
        raise HTTPException(400, f"This slice does not fit a block of shape {block.shape}: {error}") from error
    if not found.size:
        raise HTTPException(400, f"There is nothing in this slice of a block of shape {block.shape}.")
    return found


def text_values(rows: Rows, *, are_texts: bool) -> Array:
    """Rows of texts, or of lists as JSON text, as an array of one width."""
    found = texts(rows) if are_texts else map(_json_text, rows)
    words = ["" if text is None else text for text in found]
    longest = max(map(len, words), default=0)
    width = max(_LEAST_WIDTH, 1 << max(0, longest - 1).bit_length())
    return np.array(words, f"<U{width}")


def _json_text(row: Any) -> str:
    return dump_json(row.tolist() if isinstance(row, np.ndarray) else row).decode()


def known_length(viewer: Viewer, length: int, chunk_rows: int) -> int:
    """The rows that a client knows of when it asks for a whole array or block, as far as its request tells."""
    if viewer.route != "array" or not viewer.expected_shape or viewer.sliced:
        return length
    return min(length, (viewer.block or 0) * chunk_rows + viewer.expected_shape[0])


def _chunks(length: int, size: int) -> tuple[int, ...]:
    whole, rest = divmod(length, size)
    return (size,) * whole + ((rest,) if rest or not whole else ())
