"""Rows as entries and back, against blissdata's own encoders, in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from blissdata.streams.encoding import EncodedBatch
from blissdata.streams.encoding.json import JsonStreamEncoder
from blissdata.streams.encoding.numeric import NumericStreamEncoder
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blissdata_bluesky.errors import DamagedRunError
from blissdata_bluesky.protocol import (
    Array,
    DocumentEntry,
    Encoding,
    Entry,
    JsonEncoding,
    NumericEncoding,
    Rows,
    StreamEnd,
    decode,
    encode,
    encoding_from_json,
    parse_entry,
    skip_rows,
)
from blissdata_bluesky.protocol import encoding as module

DTYPES = st.sampled_from(["?", "|u1", "<i2", "<u8", "<i8", "<f2", "<f4", "<f8", "<c8", "<c16"]).map(np.dtype)
KEYS = st.text(st.characters(exclude_characters="$"))  # "$type" means something to us only
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=5,
)


@st.composite
def fixed(draw: st.DrawFn) -> tuple[Encoding, Array]:
    dtype, shape = draw(DTYPES), draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    return NumericEncoding(dtype, shape), draw(hnp.arrays(dtype, (draw(st.integers(1, 9)), *shape)))


@st.composite
def ragged(draw: st.DrawFn) -> tuple[Encoding, list[Array]]:
    dtype, shape = draw(DTYPES), draw(st.sampled_from([(-1,), (2, -1), (-1, -1)]))
    shapes = st.tuples(*[st.integers(0, 3) if n == -1 else st.just(n) for n in shape])
    return NumericEncoding(dtype, shape), draw(st.lists(shapes.flatmap(lambda s: hnp.arrays(dtype, s)), min_size=1))


@st.composite
def json_rows(draw: st.DrawFn) -> tuple[Encoding, list[Any]]:
    return JsonEncoding(), draw(st.lists(JSON_VALUES, min_size=1))


ANY_ROWS = fixed() | ragged() | json_rows()


def theirs(encoding: Encoding) -> Any:
    if isinstance(encoding, JsonEncoding):
        return JsonStreamEncoder.from_info(encoding.to_json())
    return NumericStreamEncoder.from_info(encoding.to_json())


def same(one: Rows, other: Rows) -> bool:
    return len(one) == len(other) and all(
        np.shape(a) == np.shape(b) and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        if isinstance(a, np.ndarray | np.generic)
        else a == b
        for a, b in zip(one, other, strict=True)
    )


@given(ANY_ROWS, st.integers(0, 2**40))
def test_blissdata_reads_what_we_write(case: tuple[Encoding, Rows], index: int) -> None:
    encoding, rows = case
    entries = encode(encoding, index, rows)
    assert [entry.index for entry in entries] == [
        index + sum(e.length for e in entries[:i]) for i in range(len(entries))
    ]
    assert same(theirs(encoding).decode([EncodedBatch(e.payload, e.length) for e in entries]), rows)


@given(ANY_ROWS)
def test_we_read_what_blissdata_writes(case: tuple[Encoding, Rows]) -> None:
    encoding, rows = case
    rows = [row for row in rows if np.size(row)] if isinstance(encoding, NumericEncoding) else rows
    batches = [theirs(encoding).encode(row) for row in rows]
    assert same(decode(encoding, [Entry(i, b.len, b.payload) for i, b in enumerate(batches)]), rows)


@given(ANY_ROWS)
def test_rows_come_back(case: tuple[Encoding, Rows]) -> None:
    encoding, rows = case
    assert same(decode(encoding, encode(encoding, 7, rows)), rows)


@given(ANY_ROWS, st.data())
def test_skipping_leaves_exactly_the_rows_that_are_missing(case: tuple[Encoding, Rows], data: st.DataObject) -> None:
    encoding, rows = case
    first = data.draw(st.integers(0, len(rows)))
    left = [kept for entry in encode(encoding, 100, rows) if (kept := skip_rows(encoding, entry, 100 + first))]
    assert sum(entry.length for entry in left) == len(rows) - first
    if left:
        assert left[0].index == 100 + first
        assert same(decode(encoding, left), rows[first:])


@given(st.integers(0, 2**50), st.integers(1, 2**20), st.binary())
def test_an_entry_survives_redis(index: int, length: int, payload: bytes) -> None:
    entry = Entry(index, length, payload)
    fields = {str(k).encode(): v if isinstance(v, bytes) else str(v).encode() for k, v in entry.fields.items()}
    assert parse_entry((entry.id.encode(), fields)) == entry
    assert StreamEnd.from_last([(entry.id.encode(), fields)]) == StreamEnd(index + length)


def test_a_single_row_has_no_length_as_with_blissdata() -> None:
    assert Entry(0, 1, b"x").fields == {"payload": b"x"}
    assert Entry(0, 2, b"x").fields == {"payload": b"x", "len": 2}


def test_a_seal_ends_a_stream_at_the_rows_that_it_names() -> None:
    seal = (b"18446744073709551615-18446744073709551615", {b"id": b"42"})
    assert StreamEnd.from_last([seal]) == StreamEnd(42, sealed=True)
    assert parse_entry(seal) is None
    assert StreamEnd.from_last([]) == StreamEnd()


def test_entries_stay_small_enough_to_read_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENTRY_BYTES", 64)
    scalars = encode(NumericEncoding(np.dtype("<f8")), 0, np.arange(20.0))
    assert [entry.length for entry in scalars] == [8, 8, 4]
    images = encode(NumericEncoding(np.dtype("<u2"), (100,)), 0, np.ones((3, 100), "<u2"))
    assert [entry.length for entry in images] == [1, 1, 1]
    vectors = encode(NumericEncoding(np.dtype("<f8"), (-1,)), 0, [np.ones(n) for n in (2, 2, 2, 2, 2, 3, 0, 0)])
    assert [entry.length for entry in vectors] == [4, 1, 1, 2]


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        (NumericEncoding(np.dtype("<f8")), b"123"),
        (NumericEncoding(np.dtype("<f8"), (3,)), b"12345678"),
        (NumericEncoding(np.dtype("<f8"), (-1,)), b"no msgpack"),
        (NumericEncoding(np.dtype("<f8"), (-1,)), b"\x92\x91\x02\xc4\x08" + bytes(8)),
        (NumericEncoding(np.dtype("<f8"), (-1,)), b"\x05"),
        (JsonEncoding(), b"{"),
        (JsonEncoding(), b"\xff"),
        (JsonEncoding(), b'{"$type":"unheard of"}'),
        (JsonEncoding(), b'{"$type":"complex","value":7}'),
        (JsonEncoding(), b'{"$type":"array","value":"wQ=="}'),
    ],
)
def test_a_payload_that_does_not_fit_is_a_damaged_run(encoding: Encoding, payload: bytes) -> None:
    with pytest.raises(DamagedRunError):
        decode(encoding, [Entry(0, 1, payload)])


@given(ANY_ROWS)
def test_an_encoding_can_be_read_from_the_scans_document(case: tuple[Encoding, Rows]) -> None:
    assert encoding_from_json(case[0].to_json()) == case[0]


def test_an_encoding_of_the_future_is_refused() -> None:
    with pytest.raises(DamagedRunError, match="newer"):
        encoding_from_json({"type": "video"})


DOCUMENT = {"uid": "u", "nested": {"array": np.arange(3)}, "when": 1.5}


def as_redis(entry: DocumentEntry) -> tuple[bytes, dict[bytes, bytes]]:
    return entry.id.encode(), {
        k.encode(): v if isinstance(v, bytes) else str(v).encode() for k, v in entry.fields.items()
    }


@pytest.mark.parametrize("publisher", [None, "me"])
def test_a_document_comes_back_with_its_rows_and_publisher(publisher: str | None) -> None:
    parsed = DocumentEntry.parse(as_redis(DocumentEntry(3, "start", DOCUMENT, {"primary": 5}, publisher=publisher)))
    assert (parsed.index, parsed.name, parsed.rows, parsed.publisher) == (3, "start", {"primary": 5}, publisher)
    assert parsed.document["nested"]["array"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "change", [{b"doc": b"\xc1"}, {b"doc": b"\x05"}, {b"rows": b"{"}, {b"format": b"x"}, {b"format": b"2"}]
)
def test_a_document_that_is_damaged_or_of_a_newer_format_is_refused(change: dict[bytes, bytes]) -> None:
    identifier, fields = as_redis(DocumentEntry(0, "start", DOCUMENT, {}, publisher="me"))
    with pytest.raises(DamagedRunError):
        DocumentEntry.parse((identifier, fields | change))
