"""What becomes of a data key in Tiled: a column of the table `internal`, or an array node of its own.

Numbers: columns of their dtype. Fixed shapes of at most 16 elements, and ragged ones: list columns. Larger fixed
shapes, and complex numbers, for which tables have no type: array nodes. What is no number, and ragged complex arrays:
a text column, in which strings stand as they are and every other value as JSON text; null: the event lacked the key.
Arrays of strings: list columns of such texts. A value that a numeric column cannot hold stands in it as NaN (`window`
says how, for integers), in a list column as the list that it is, of any length, or null. An array node has one dtype
and shape, so there the fill of `RunStream.read` stands for it, which is NaN for floats and 0 for integers.
`documents()` has the exact value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from ..protocol import Missing, NumericEncoding, Rows, dump_json
from ..runs import Column

# bluesky-tiled-plugins' TiledWriter draws the line here
MOST_ELEMENTS_IN_TABLE = 16
# a guess, to choose the size of partitions
_UNKNOWN_ROW_BYTES = 256


def is_array_node(column: Column) -> bool:
    """Whether the key is an array node of its own instead of a column."""
    encoding = column.encoding
    if not isinstance(encoding, NumericEncoding) or encoding.ragged:
        return False
    return encoding.dtype.kind == "c" or math.prod(encoding.shape) > MOST_ELEMENTS_IN_TABLE


def arrow_type(column: Column) -> pa.DataType:
    """The type of the key's column in the table."""
    if isinstance(column.encoding, NumericEncoding):
        dtype, depth = column.encoding.dtype, len(column.encoding.shape)
        return pa.string() if dtype.kind == "c" else _nested(pa.from_numpy_dtype(_native(dtype)), depth)
    return pa.list_(pa.string()) if _is_list_of_texts(column) else pa.string()


def arrow_array(column: Column, rows: Rows) -> pa.Array:
    """Rows of the key as a column of its `arrow_type`."""
    kind = arrow_type(column)
    if isinstance(column.encoding, NumericEncoding):
        if column.encoding.dtype.kind == "c":
            return pa.array([None if row is None else _text(row) for row in rows], kind)
        if isinstance(rows, list):
            return _ragged(rows, kind)
        return _fixed(np.asarray(rows), kind)
    if _is_list_of_texts(column):
        return pa.array([_texts(value) for value in rows], kind)
    return pa.array(texts(rows), kind)


def row_bytes(column: Column) -> int:
    """About how much memory one row takes."""
    encoding = column.encoding
    if not isinstance(encoding, NumericEncoding) or encoding.ragged:
        return _UNKNOWN_ROW_BYTES
    return encoding.dtype.itemsize * math.prod(encoding.shape)


def texts(values: Iterable[Any]) -> list[str | None]:
    """Strings as they are, None for a value that is missing, JSON text for everything else."""
    return [value if isinstance(value, str) else _text(value) for value in values]


def _text(value: Any) -> str | None:
    return None if isinstance(value, Missing) else dump_json(value).decode()


def _texts(value: Any) -> list[str | None] | None:
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return texts(value)
    return None if isinstance(value, Missing) else texts([value])


def _is_list_of_texts(column: Column) -> bool:
    if column.data_key.get("dtype") != "array":
        return False
    try:
        return np.dtype(column.data_key["dtype_numpy"]).kind in "UST"
    except (KeyError, TypeError):
        return False


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")


def _nested(kind: pa.DataType, depth: int) -> pa.DataType:
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


def _fixed(rows: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    array = np.ascontiguousarray(rows, _native(rows.dtype))
    column = pa.array(array.reshape(-1))
    for axis in range(array.ndim - 1, 0, -1):
        count, length = math.prod(array.shape[:axis]), array.shape[axis]
        column = pa.ListArray.from_arrays(np.arange(count + 1, dtype=np.int32) * np.int32(length), column)
    return column.cast(kind)


def _ragged(rows: Rows, kind: pa.DataType) -> pa.Array:
    """Lists that differ in length; None: null."""
    if not len(rows) or any(row is not None and np.ndim(row) != 1 for row in rows):
        return pa.array([None if row is None else np.asarray(row).tolist() for row in rows], kind)
    flat = [np.asarray(row) for row in rows if row is not None]
    if not flat:
        return pa.nulls(len(rows), kind)
    lengths = [0 if row is None else len(row) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = np.concatenate(flat)
    nulls = pa.array([row is None for row in rows])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.astype(_native(values.dtype))), mask=nulls).cast(
        kind
    )
