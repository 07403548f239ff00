"""Objects that Python's users put into documents: none is refused, none loses what it says, all can be read again."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import uuid
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ophyd_async.core import Array1D, Table
from pydantic import BaseModel

from blissdata_bluesky.packing import pack, unpack
from blissdata_bluesky.protocol import dump_json, load_json

from .test_packing import same

POINTS = np.array([(1, 0.5), (2, 1.5)], [("n", "<i4"), ("x", "<f8")])


class Text(str, enum.Enum):  # noqa: UP042 - as it was written before StrEnum
    A = "a"


class Numbers(enum.Enum):
    KEYS = {1: "x"}  # noqa: RUF012 - a member


class Option(enum.Flag):
    FAST = 1
    DEEP = 2


@dataclass
class Sample:
    name: str
    _batch: int


class Beam(BaseModel):
    energy: float
    keys: int = 5


class Counts(Table):
    n: Array1D[np.int32]
    label: collections.abc.Sequence[str]


class Bytes(bytes):
    pass


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (Text.A, "a"),
        (Numbers.KEYS, {"1": "x"}),
        (Option.FAST | Option.DEEP, 3),
        (Sample("LaB6", 7), {"name": "LaB6", "_batch": 7}),
        ([Sample("LaB6", 7), {1: 2}], [{"name": "LaB6", "_batch": 7}, {"1": 2}]),
        (Beam(energy=12.4), {"energy": 12.4, "keys": 5}),
        (Counts(n=[1, 2], label=["a", "b"]), {"n": np.array([1, 2], np.int32), "label": ["a", "b"]}),
        (Bytes(b"ab"), b"ab"),
        (np.bytes_(b"ab"), b"ab"),
        (np.complex64(1 + 2j), 1 + 2j),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.10"), "Decimal('1.10')"),
        (pd.Timestamp("2026-01-01T00:00:00.000001"), datetime.datetime(2026, 1, 1, microsecond=1)),
        (pd.Timestamp("2026-01-01T00:00:00.000000001"), "2026-01-01T00:00:00.000000001"),
        (pd.NaT, "NaT"),
        (pd.Timedelta(5, "us"), datetime.timedelta(microseconds=5)),
        (pd.Timedelta(5, "ns"), "Timedelta('0 days 00:00:00.000000005')"),
        (pd.Series([1, 2]), np.array([1, 2])),
        ({1: 1, "1": 2, "int(1)": 3}, {"int(1)'": 1, "1": 2, "int(1)": 3}),
        ({"\ud800": 1, "\\ud800": 2}, {"\\ud800": 1, "\\ud800'": 2}),
        (POINTS[["x", "n"]], np.array([(0.5, 1), (1.5, 2)], [("x", "<f8"), ("n", "<i4")])),
        (np.zeros(2, []), np.zeros(2, [])),
        (np.zeros(2, "V0"), np.zeros(2, "V0")),
        (np.array(["", ""]), np.array(["", ""])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_it_says_is_kept(given: Any, found: Any) -> None:
    assert same(unpack(pack({"x": [given]}))["x"][0], found)
    # the slow way, for the sake of a key beside it
    assert same(unpack(pack({1: 0, "x": [given]}))["x"][0], found)


def test_metadata_of_a_dtype_is_left_out_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, field = np.dtype("<i4", metadata={"a": 1}), [("a", np.dtype("<f8", metadata={"a": 1}))]
        assert unpack(pack(np.zeros(2, plain))).dtype == np.dtype("<i4")
        assert unpack(pack(np.zeros(2, field))).dtype == np.dtype([("a", "<f8")])


class Zone(datetime.tzinfo):
    def utcoffset(self, _: Any) -> Any:
        raise RuntimeError("no")


class Spelling(str):  # noqa: SLOT000 - as strangers write it
    def encode(self, *_: Any) -> bytes:
        raise RuntimeError("no")


class Key:
    def __str__(self) -> str:
        raise RuntimeError("no")


class Lost(collections.abc.Mapping[str, int]):
    def __getitem__(self, _: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    "hostile",
    [
        datetime.datetime(2026, 1, 1, tzinfo=Zone()),
        Spelling("a"),
        Spelling("\ud800"),
        {Key(): 1},
        Lost(),
        [{Key(): Lost()}],
    ],
    ids=["zone", "spelling", "surrogate", "key", "mapping", "nested"],
)
def test_nothing_that_raises_is_refused(hostile: Any) -> None:
    assert unpack(pack({"x": hostile, "y": 1}))["y"] == 1
    assert unpack(pack({1: hostile, "y": 1}))["y"] == 1


def test_what_holds_itself_ends_where_it_begins_again() -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["many"] = [{"parent": loop, "number": n} for n in range(1000)]
    found = unpack(pack(loop))
    assert found["many"][999] == {"parent": "<the dict that this stands in>", "number": 999}
    array = np.empty(1, object)
    array[0] = array
    assert unpack(pack({"x": array}))["x"] == ["<the ndarray that this stands in>"]


OBJECTS = st.sampled_from(
    [
        Text.A,
        Numbers.KEYS,
        Sample("a", 1),
        Beam(energy=1),
        Lost(),
        Key(),
        pd.NaT,
        {1: {Key(): 2}},
        POINTS[["x"]],
        object(),
    ]
)
KEYS = st.text() | st.integers() | st.none() | st.floats() | st.booleans() | st.binary() | st.tuples(st.integers())
ANYTHING = st.recursive(
    OBJECTS | st.text(st.characters()) | st.floats() | st.integers() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner) | st.frozensets(st.integers()),
    max_leaves=15,
)


@given(st.dictionaries(KEYS, ANYTHING))
def test_anything_is_packed_for_good(value: dict[Any, Any]) -> None:
    packed = pack(value)
    kept = unpack(packed)
    # no key is lost, and what is kept once stays as it is
    assert len(kept) == len(value)
    assert same(unpack(pack(kept)), kept)
    assert same(load_json(dump_json(kept)), kept)
