"""The format of an archived run's file: names, version, and how rows lie in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..protocol import Encoding, JsonEncoding, NumericEncoding

FORMAT = 1

# attributes of the file
FORMAT_ATTRIBUTE = "bluesky_format"
UID_ATTRIBUTE = "bluesky_uid"
PUBLISHER_ATTRIBUTE = "bluesky_publisher"
GROUP_ATTRIBUTE = "bluesky_group"
COMPLETE_ATTRIBUTE = "bluesky_complete"
INCOMPLETE_ATTRIBUTE = "bluesky_incomplete"

# members of the group that GROUP_ATTRIBUTE names
DOCUMENTS = "documents"
STREAMS = "streams"
COLUMNS = "columns"
# of a ragged column: the values of all rows behind each other, and the shape of each row
VALUES, SHAPES = "values", "shapes"

TEXT_BYTES = NumericEncoding(np.dtype("u1"), (-1,))
"""How the bytes of texts lie in a file: as a ragged column."""

# Rows of at least this size are chunks of their own, compressed when they are written. Smaller ones gather in chunks
# that are written again and again in their place, and are compressed when the run is over.
HEAVY_ROW_BYTES = 2**15
_LIVE_CHUNK_BYTES, _LIVE_CHUNK_ROWS = 2**16, 4096
_SEALED_CHUNK_BYTES = 2**19


def group_path(number: int) -> str:
    """The group of what only this package reads, in the run's first entry."""
    return f"/{number}.1/bluesky"


def own_path(group: str, stream: str) -> str:
    """Where a data stream lies that the layout has no place for: blissdata's map cannot hold it.

    Its name has a `:`, and so is none of the group's other members.
    """
    return f"{group}/{stream}"


def row_bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Bytes of one row."""
    return dtype.itemsize * math.prod(shape)


def live_chunk_rows(size: int) -> int:
    """Rows of a chunk of a file that grows, for rows of `size` bytes."""
    return 1 if size >= HEAVY_ROW_BYTES else min(_LIVE_CHUNK_ROWS, max(1, _LIVE_CHUNK_BYTES // size))


def sealed_chunk_rows(size: int, rows: int) -> int:
    """Rows of a chunk of a file that is complete: large ones, which are read faster, and none larger than needed."""
    return max(1, min(rows, _SEALED_CHUNK_BYTES // size))


def text_attribute(item: Any, name: str) -> str:
    """A text among the attributes of a file or group; "" when there is none."""
    value = item.attrs.get(name, b"")
    return value.decode() if isinstance(value, bytes) else str(value)


def is_text(encoding: Encoding) -> bool:
    """Whether rows are stored as text."""
    return isinstance(encoding, JsonEncoding)
