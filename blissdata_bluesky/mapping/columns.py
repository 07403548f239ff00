"""Which column a data key becomes: from the descriptor, settled by the first event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..foreign import as_text
from ..protocol import Encoding, JsonEncoding, NumericEncoding
from .exact import NUMERIC_KINDS, exact_cast, numeric_array

_DECLARED = {"number": np.dtype("<f8"), "integer": np.dtype("<i8"), "boolean": np.dtype("?")}


@dataclass(frozen=True, slots=True)
class Column:
    """One data key of a stream, with the name that it bears in Redis."""

    key: str
    name: str
    encoding: Encoding


def is_external_stream(data_key: Mapping[str, Any]) -> bool:
    """Whether the values come by stream_datum, so that events lack the key (event-model, `external`)."""
    return as_text(data_key.get("external", "")).startswith("STREAM:")


def is_certain(data_key: Mapping[str, Any]) -> bool:
    """Whether the descriptor alone settles the column.

    ophyd.sim calls a motor that stands at 0 an integer, and gives no dtype for arrays: these wait for an event.
    """
    declared = declared_dtype(data_key) is not None and data_key.get("dtype") != "array"
    return data_key.get("dtype") in {"number", "boolean", "string"} or (declared and "dtype_numpy" in data_key)


def declared_dtype(data_key: Mapping[str, Any]) -> np.dtype[Any] | None:
    """`dtype_numpy`, else what `dtype` stands for; None where that is not one kind of number."""
    with suppress(KeyError, TypeError, ValueError):
        dtype: np.dtype[Any] = np.dtype(data_key["dtype_numpy"]).newbyteorder("<")
        if is_portable(dtype):
            return dtype
    return _DECLARED.get(str(data_key.get("dtype")))


def is_portable(dtype: np.dtype[Any]) -> bool:
    """Whether every reader knows this kind of number: those of C's long double depend on the machine."""
    return dtype.kind in NUMERIC_KINDS and dtype.itemsize <= (16 if dtype.kind == "c" else 8)


def expected_encoding(data_key: Mapping[str, Any]) -> Encoding:
    """The encoding before any event came."""
    dtype = declared_dtype(data_key)
    if data_key.get("dtype") == "string" or "external" in data_key or (dtype is None and not _holds_numbers(data_key)):
        return JsonEncoding()
    shape = tuple(length or -1 for length in _shape(data_key))
    return NumericEncoding(dtype or np.dtype("<f8"), shape)


def _holds_numbers(data_key: Mapping[str, Any]) -> bool:
    """Whether an array whose `dtype_numpy` is no kind of number that readers know has numbers all the same."""
    if data_key.get("dtype") != "array" or isinstance(data_key.get("dtype_numpy"), list | tuple):
        return False
    try:
        return np.dtype(data_key["dtype_numpy"]).kind in NUMERIC_KINDS
    except (KeyError, TypeError, ValueError):
        return True


def settled_encoding(data_key: Mapping[str, Any], value: Any) -> Encoding:
    """The encoding once the first value is known. A value that contradicts the descriptor's kind is not believed."""
    expected = expected_encoding(data_key)
    array = numeric_array(value)
    if data_key.get("dtype") == "string":
        return expected
    if array is None:
        return JsonEncoding() if data_key.get("dtype") == "array" and value is not None else expected
    if not is_portable(array.dtype):
        return expected
    dtype = _settled_dtype(declared_dtype(data_key), array, has_dtype=isinstance(value, np.ndarray) and array.ndim > 0)
    return NumericEncoding(dtype, _settled_shape(_shape(data_key), array.shape))


def _settled_dtype(declared: np.dtype[Any] | None, array: np.ndarray[Any, Any], *, has_dtype: bool) -> np.dtype[Any]:
    found: np.dtype[Any] = array.dtype.newbyteorder("<")
    if has_dtype or declared is None:
        return found
    if exact_cast(array, declared) is not None:
        return declared
    promoted = np.promote_types(declared, found)
    return declared if exact_cast(array, promoted) is None else promoted


def _shape(data_key: Mapping[str, Any]) -> Sequence[int | None]:
    shape = data_key.get("shape")
    return [n if isinstance(n, int) and n > 0 else None for n in shape] if isinstance(shape, list | tuple) else []


def _settled_shape(declared: Sequence[int | None], actual: tuple[int, ...]) -> tuple[int, ...]:
    if len(declared) != len(actual):
        return tuple(length or -1 for length in actual)
    return tuple(got if want == got else -1 for want, got in zip(declared, actual, strict=True))
