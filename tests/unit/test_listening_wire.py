"""From the network to a document: addresses, and pickles that can do no harm."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import os
import pathlib
import pickle
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np
import pytest

from blissdata_bluesky.listening import ListenError, Serializer, deserializer, zmq_address

from ..system.archived import assert_same_value

VALUES: list[Any] = [
    *(1, 2**80, 1.5, "é", None, True, b"x", bytearray(b"y"), {1, 2}, frozenset({3}), 1 + 2j, (1, (2, [3]))),
    *(np.float32(1.5), np.int8(3), np.bool_(True), np.complex64(1j), np.str_("abc"), np.str_(""), np.bytes_(b"ab")),
    *(np.datetime64("2026-01-02T03:04:05", "ns"), np.timedelta64(5, "s")),
    np.arange(12, dtype="<u2").reshape(3, 4),
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    np.arange(10)[::2],
    np.array(3.5),
    np.zeros((0, 3)),
    np.array(["a", "bcd"]),
    np.array([], "U"),
    np.array(["2026-01-01"], "M8[D]"),
    np.array([(1, 2.5, "x")], [("a", "<i4"), ("b", "<f8"), ("c", "U3")]),
    np.zeros(2, [("p", [("x", "f4"), ("y", "f4", (2,))])]),
    datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    datetime.date(2026, 1, 2),
    datetime.timedelta(1, 2),
    decimal.Decimal("1.5"),
    collections.OrderedDict(a=1),
    collections.defaultdict(list, a=[1]),
    collections.deque([1]),
]


def as_plain(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {value}"[:40])
def test_plain_values_come_through(value: Any, protocol: int) -> None:
    found = deserializer(Serializer.PICKLE)(pickle.dumps({"value": value}, protocol))["value"]
    # the same as Python's own gives
    expected = pickle.loads(pickle.dumps(value, protocol))
    assert_same_value(as_plain(found), expected) if isinstance(value, np.ndarray) else assert_equal(found, expected)


def assert_equal(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    assert found == expected


@pytest.mark.parametrize("path", [pathlib.Path("/a/b"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("C:\\x")])
def test_paths_are_kept_as_paths(path: pathlib.PurePath) -> None:
    assert str(deserializer(Serializer.PICKLE)(pickle.dumps(path))) == str(path)


class Mode(enum.Enum):
    FAST = 1


class Runs:
    """What a pickle can do."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._does = (function, arguments)

    def __reduce__(self) -> Any:
        return self._does


@pytest.mark.parametrize(
    "value",
    [
        Mode.FAST,
        Runs(os.system, "true"),
        Runs(eval, "1"),
        Runs(getattr, "", "join"),
        Runs(__import__, "os"),
        Runs(np.load, "x"),
        np.array([None, 1], object),
        np.zeros(1, [("a", object)]),
        np.ma.masked_array([1], [True]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_could_run_code_is_refused_with_its_name(value: Any) -> None:
    with pytest.raises((pickle.UnpicklingError, ValueError), match="not made here"):
        deserializer(Serializer.PICKLE)(pickle.dumps({"value": value}))


class Lies:
    """A dtype whose pickle says that there are no objects in memory where there are."""

    def __reduce__(self) -> Any:
        fields = {"a": (np.dtype(object), 0)}
        return np.dtype, ("V8", False, True), (3, "|", None, ("a",), fields, 8, 1, 0)


class Forged:
    """An array of them, with addresses of the sender's choice."""

    def __reduce__(self) -> Any:
        reconstruct = np.zeros(1).__reduce_ex__(4)[0]
        return reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), Lies(), False, b"\x01" * 8)


def test_memory_is_not_taken_for_objects() -> None:
    with pytest.raises(ValueError, match="array of objects"):
        deserializer(Serializer.PICKLE)(pickle.dumps(Forged(), 4))


def test_msgpack_with_arrays() -> None:
    document = {"a": np.arange(6, dtype="<u2").reshape(2, 3), "b": np.float32(1.5), "c": 1 + 2j, "d": {"x": [1, None]}}
    found = deserializer(Serializer.MSGPACK)(msgpack.packb(document, default=msgpack_numpy.encode))
    for key, value in document.items():
        assert_same_value(found[key], value)


def test_msgpack_with_a_pickle_in_it_is_refused() -> None:
    document = {"a": np.array([Runs(os.system, "true")], object)}
    with pytest.raises(ValueError, match="array of objects"):
        deserializer(Serializer.MSGPACK)(msgpack.packb(document, default=msgpack_numpy.encode))


def test_any_pickle_where_it_is_wanted() -> None:
    assert deserializer(Serializer.UNSAFE_PICKLE)(pickle.dumps(Runs(len, "abc"))) == 3


def test_json() -> None:
    assert deserializer(Serializer.JSON)(json.dumps({"a": [1.5, None]}).encode()) == {"a": [1.5, None]}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:5578", "tcp://localhost:5578"),
        ("tcp://10.0.0.1:5578", "tcp://10.0.0.1:5578"),
        ("[::1]:5578", "tcp://[::1]:5578"),
        ("tcp://[fe80::1%eth0]:1", "tcp://[fe80::1%eth0]:1"),
        ("beamline-id00.example.org:65535", "tcp://beamline-id00.example.org:65535"),
        ("ipc:///tmp/socket", "ipc:///tmp/socket"),
        (" host:1 ", "tcp://host:1"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert zmq_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "5578", "host", "host:", ":5578", "host:0", "host:65536", "::1:5578", "*:5578", "http://host:1", "a b:1"],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(ListenError, match="write HOST:PORT"):
        zmq_address(text)
