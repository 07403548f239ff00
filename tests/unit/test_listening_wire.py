"""From the network to a document: addresses, and pickles that can do no harm."""

from __future__ import annotations

import collections
import dataclasses
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
import pydantic
import pytest
from ophyd_async.testing import ExampleEnum, ExampleSupersetEnum

from blissdata_bluesky.listening import ListenError, Serializer, deserializer, zmq_address
from blissdata_bluesky.packing import pack_document, unpack_document

from ..system.archived import assert_same_value
from ..system.run_contract import assert_same
from ..system.simulated import TABLE
from .harmful import read_apart

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


@pytest.mark.parametrize("protocol", [2, 4, 5])
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
    PAIR = (1, 2)


class Several(enum.IntFlag):
    ONE = 1
    TWO = 2


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Sample:
    name: str
    mode: Mode


class Model(pydantic.BaseModel, extra="allow"):
    number: float
    modes: list[Mode]
    inner: Any = None
    _secret: int = pydantic.PrivateAttr(1)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        Mode.FAST,
        [Mode.FAST, {"a": (Mode.FAST, ExampleEnum.B)}],
        Several.ONE | Several.TWO,
        ExampleSupersetEnum.D,
        Text("x"),
        Sample("x", Mode.FAST),
        Model(number=1.5, modes=[Mode.FAST], inner=Model(number=2, modes=[], more="x")),
        TABLE,
        {"one": TABLE, "again": TABLE},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_stands_for_plain_values_comes_through_as_in_the_same_process(value: Any, protocol: int) -> None:
    """As a writer keeps it, and no class of the sender's is needed for it."""
    document = {"value": value}
    # packages of these names are not installed
    message = pickle.dumps(document, protocol).replace(b"ophyd_async", b"ophyd_other").replace(b"tests.", b"other.")
    found = deserializer(Serializer.PICKLE)(message)
    assert_same(unpack_document(pack_document("start", found))[1], unpack_document(pack_document("start", document))[1])
    assert not {type(each).__module__ for each in leaves(found)} - {"builtins", "numpy"}


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, list | tuple) else [value]


class Runs:
    """What a pickle can do."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._does = (function, arguments)

    def __reduce__(self) -> Any:
        return self._does


@pytest.mark.parametrize(
    "value",
    [
        Mode.PAIR,
        Runs(os.system, "true"),
        Runs(eval, "1"),
        Runs(getattr, "", "join"),
        Runs(__import__, "os"),
        Runs(np.load, "x"),
        # of a package of somebody's
        Runs(zmq_address, 1, 2),
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


def called(module: bytes, name: bytes) -> bytes:
    return b"c" + module + b"\n" + name + b"\n"


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


ADDRESS = b"\xf0\xee\xdb\xea\x0d\x00\x00\x00"
# an OrderedDict whose attribute `make` is a path function that was changed into str("O"), in the place of a dtype
CHANGED = called(b"pathlib", b"PosixPath") + b"(" + called(b"builtins", b"str") + text("O") + b"\x85}}tb"
FORGED_FIELD = called(b"collections", b"OrderedDict") + b")R}" + text("make") + CHANGED + b"sb"
FORGED_DTYPE = (
    called(b"numpy", b"dtype")
    + text("V8")
    + b"\x85R(K\x03"
    + text("|")
    + b"N"
    + text("a")
    + b"\x85}"
    + text("a")
    + FORGED_FIELD
    + b"K\x00\x86sK\x08K\x01K\x00tb"
)
OBJECTS = called(b"numpy", b"dtype") + text("O8") + b"\x85R"
SCALAR, FILLED = called(b"numpy._core.multiarray", b"scalar"), called(b"numpy._core.numeric", b"_frombuffer")
ARRAY = called(b"numpy._core.multiarray", b"_reconstruct") + called(b"numpy", b"ndarray") + b"K\x00\x85C\x01b\x87R"
EIGHT = called(b"numpy", b"dtype") + text("i8") + b"\x85R"
NESTED = 300_000

HARMFUL: dict[str, bytes] = {
    "an attribute of a function": SCALAR + FORGED_DTYPE + b"C\x08" + ADDRESS + b"\x86R",
    "a scalar of objects": SCALAR + OBJECTS + b"C\x08" + ADDRESS + b"\x86R",
    "an array of objects": FILLED + b"(C\x08" + ADDRESS + OBJECTS + b"K\x01\x85" + text("C") + b"tR",
    "an array of objects, later": ARRAY + b"(K\x01K\x01\x85" + OBJECTS + b"\x89C\x08" + ADDRESS + b"tb",
    "an array over one that changes": FILLED
    + b"("
    + (ARRAY + b"(K\x01K\x01\x85" + EIGHT + b"\x89C\x08" + ADDRESS + b"tb")
    + EIGHT
    + b"K\x01\x85"
    + text("C")
    + b"tR",
    "longer than its bytes": FILLED + b"(C\x08" + ADDRESS + EIGHT + b"K\x7f\x85" + text("C") + b"tR",
    "a state for a function": called(b"builtins", b"set") + b"}b",
    "tuples in tuples as a key": b"}N" + b"\x85" * NESTED + b"Ns",
    "tuples in tuples in a set": b"\x8f(N" + b"\x85" * NESTED + b"\x90",
    "tuples in tuples in a frozenset": b"(N" + b"\x85" * NESTED + b"\x91",
    "tuples in tuples": b"N" + b"\x85" * NESTED,
    "lists in lists": b"]" * NESTED + b"a" * (NESTED - 1),
    "a list in itself": b"]\x94h\x00a",
    "a list named twice in a list that is": b"]\x940"
    + b"".join(b"](h%ch%ce\x940" % (i, i) for i in range(40))
    + b"h\x28",
    "a structure in a structure": EIGHT
    + b"".join(
        b"\x94"
        + called(b"numpy", b"dtype")
        + b"%bK\x08\x85R(K\x03%bNX\x01\x00\x00\x00a\x85}%bh%cK\x00\x86sK\x08tb" % (b"", text("|"), text("a"), i)
        for i in range(20)
    ),
    "an integer of a decimal": called(b"builtins", b"int")
    + (called(b"decimal", b"Decimal") + text("1e30000000") + b"\x85R")
    + b"\x85R",
    "bytes of a number": called(b"builtins", b"list")
    + (called(b"builtins", b"bytes") + b"\x8a\x05\x00\x00\x00\x80\x00\x85R")
    + b"\x85R",
    "a place far away in the memo, without end": b"Nr\xff\xff\xff\x7f" * 3 + b"0j\x00\x00\x00\x00",
    "an hour that is none": called(b"datetime", b"datetime") + b"C\x0a\x07\xea\x01\xff\xff\xff\xff\x00\x00\x00\x85R",
    "a hundred million empty arrays": FILLED + b"(C\x00" + EIGHT + b"J\xff\xff\xff\x7fK\x00\x86" + text("C") + b"tR",
}


@pytest.fixture(scope="module")
def refusals() -> Any:
    """What is said of each."""
    documents = {name: b"\x80\x04}" + text("evil") + value + b"s." for name, value in HARMFUL.items()}
    return read_apart(Serializer.PICKLE, documents)


@pytest.mark.parametrize("name", HARMFUL)
def test_a_pickle_that_harms_python_is_refused(name: str, refusals: dict[str, str]) -> None:
    assert not refusals[name].startswith(("taken", "ended")), refusals[name]


def test_msgpack_with_arrays() -> None:
    document: dict[str, Any] = {
        "a": np.arange(6, dtype="<u2").reshape(2, 3),
        "b": np.float32(1.5),
        "c": 1 + 2j,
        "d": {"x": [1, None]},
        "e": np.array(["a", "bcd"]),
        "f": np.array([(1, 2.5, "x")], [("a", "<i4"), ("b", "<f8"), ("c", "U3")]),
        "g": np.zeros(2, [("p", [("x", "f4"), ("y", "f4", (2,))])]),
        "h": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        "i": np.array(3.5),
        "j": np.zeros((0, 3)),
        "k": np.bool_(True),
    }
    found = deserializer(Serializer.MSGPACK)(msgpack.packb(document, default=msgpack_numpy.encode))
    for key, value in document.items():
        if key == "h":
            # the bytes between fields are not told apart from a field without a name
            assert found[key].tolist() == value.tolist()
            assert found[key].dtype == value.dtype
        else:
            assert_same_value(found[key], value)


def test_msgpack_with_a_pickle_in_it_is_refused() -> None:
    document = {"a": np.array([Runs(os.system, "true")], object)}
    with pytest.raises(ValueError, match="array of objects"):
        deserializer(Serializer.MSGPACK)(msgpack.packb(document, default=msgpack_numpy.encode))


def packed_array(**members: Any) -> bytes:
    described = {"nd": True, "kind": b"", "type": "|O", "shape": [1], "data": ADDRESS, **members}
    return msgpack.packb({"evil": {name.encode(): value for name, value in described.items()}})


HARMFUL_MSGPACK: dict[str, bytes] = {
    "objects": packed_array(),
    "a field of objects": packed_array(kind=b"V", type=[["a", "|O"]]),
    "a field of a field": packed_array(kind=b"V", type=[["a", [["b", "|O"]]]]),
    "several objects in a field": packed_array(kind=b"V", type=[["a", "|O", [1]]]),
    "one object": packed_array(nd=False),
    "a dtype of words": packed_array(type="object"),
    "several dtypes": packed_array(type="i4,O"),
    "longer than its bytes": packed_array(type="<i8", shape=[1000]),
    "a negative length": packed_array(type="<i8", shape=[-1]),
    "without a shape": packed_array(type="<i8", shape=None),
    "a hundred million empty arrays": packed_array(type="<i8", shape=[10**8, 0], data=b""),
    "lists in lists": b"\x81\xa4evil" + b"\x91" * NESTED + b"\xc0",
    "lists in lists, some": b"\x81\xa4evil" + b"\x91" * 900 + b"\xc0",
    "as long as it says": b"\x81\xa4evil" + b"\xdd\x7f\xff\xff\xff" * 1000,
    "fields in fields": b"\x81\xa4evil\x83\xc4\x02nd\xc3\xc4\x04data\xc4\x00\xc4\x04type"
    + b"\x91\x92\xa1a" * 400
    + b"\xa2i1",
}


@pytest.fixture(scope="module")
def msgpack_refusals() -> Any:
    return read_apart(Serializer.MSGPACK, HARMFUL_MSGPACK)


@pytest.mark.parametrize("name", HARMFUL_MSGPACK)
def test_a_msgpack_that_harms_python_is_refused(name: str, msgpack_refusals: dict[str, str]) -> None:
    assert not msgpack_refusals[name].startswith(("taken", "ended")), msgpack_refusals[name]


@pytest.mark.parametrize("depth", [200, 300_000])
def test_json_that_is_nested_too_deeply(depth: int) -> None:
    with pytest.raises((ValueError, RecursionError)):
        deserializer(Serializer.JSON)(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


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
