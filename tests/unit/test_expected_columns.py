"""What a descriptor lets expect before an event came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from blissdata_bluesky.protocol import Encoding, JsonEncoding, NumericEncoding
from blissdata_bluesky.runs.expected import expected_columns

FLOAT = np.dtype("<f8")


@pytest.mark.parametrize(
    ("data_key", "encoding"),
    [
        ({"dtype": "number", "shape": []}, NumericEncoding(FLOAT)),
        ({"dtype": "integer", "shape": []}, NumericEncoding(np.dtype("<i8"))),
        ({"dtype": "boolean", "shape": []}, NumericEncoding(np.dtype("?"))),
        ({"dtype": "string", "shape": []}, JsonEncoding()),
        ({"dtype": "string", "dtype_numpy": "<U9", "shape": []}, JsonEncoding()),
        ({"dtype": "array", "shape": [3, 4]}, NumericEncoding(FLOAT, (3, 4))),
        ({"dtype": "array", "shape": [None, 4]}, NumericEncoding(FLOAT, (-1, 4))),
        ({"dtype": "array", "shape": [0]}, NumericEncoding(FLOAT, (-1,))),
        ({"dtype": "array", "shape": [2], "dtype_numpy": ">u2"}, NumericEncoding(np.dtype("<u2"), (2,))),
        ({"dtype": "array", "shape": [2], "dtype_numpy": [["a", "<f8"]]}, JsonEncoding()),
        ({"dtype": "number", "dtype_numpy": "nonsense"}, NumericEncoding(FLOAT)),
        ({}, JsonEncoding()),
    ],
)
def test_encoding(data_key: dict[str, Any], encoding: Encoding) -> None:
    assert expected_columns({"data_keys": {"k": data_key}})["k"].encoding == encoding


def test_keys_of_stream_datums_have_no_column() -> None:
    data_keys = {"a": {"dtype": "number"}, "b": {"dtype": "array", "external": "STREAM:"}, "c": {"external": "OLD:"}}
    assert list(expected_columns({"data_keys": data_keys})) == ["a", "c"]
