"""What a descriptor lets expect of its columns, until the first event settles them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..names import escape_keys
from ..protocol import Encoding, JsonEncoding, NumericEncoding
from .interface import Column, Document

_DTYPES = {"number": np.dtype("<f8"), "array": np.dtype("<f8"), "integer": np.dtype("<i8"), "boolean": np.dtype("?")}


def expected_columns(descriptor: Document) -> dict[str, Column]:
    """The data keys that will have a column; stream_datums bring the others (event-model, `external`)."""
    data_keys = {
        key: data_key
        for key, data_key in descriptor["data_keys"].items()
        if not str(data_key.get("external", "")).startswith("STREAM:")
    }
    names = escape_keys(data_keys)
    return {key: Column(key, names[key], _encoding(data_key), data_key) for key, data_key in data_keys.items()}


def _encoding(data_key: Mapping[str, Any]) -> Encoding:
    dtype = _dtype(data_key)
    if dtype is None or dtype.kind not in "biufc":
        return JsonEncoding()
    lengths = data_key.get("shape") or ()
    return NumericEncoding(dtype, tuple(n if isinstance(n, int) and n > 0 else -1 for n in lengths))


def _dtype(data_key: Mapping[str, Any]) -> np.dtype[Any] | None:
    try:
        dtype: np.dtype[Any] = np.dtype(data_key["dtype_numpy"]).newbyteorder("<")
    except (KeyError, TypeError, ValueError):
        return _DTYPES.get(str(data_key.get("dtype")))
    return dtype
