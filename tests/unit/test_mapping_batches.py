"""A run gives the same rows, however its documents are cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from blissdata_bluesky.mapping import AddDocument, AppendRows, Operation, RunMapper
from blissdata_bluesky.protocol import NumericEncoding, encode

from .documents import INTEGER, NUMBER, Document, columns, declared, descriptor, event, page, start, stop

TEXT = {"dtype": "string", "shape": [], "source": "s"}
ARRAY = {"dtype": "array", "dtype_numpy": "<f8", "shape": [2], "source": "s"}
RAGGED = {"dtype": "array", "dtype_numpy": "<f8", "shape": [None], "source": "s"}
KEYS = {"x": NUMBER, "i": INTEGER, "text": TEXT, "pair": ARRAY, "ragged": RAGGED}
STREAMS = ("primary", "baseline", "dark", "m_monitor")

VALUES = {
    "x": st.sampled_from([0.5, 3, float("nan"), "odd", None, 1 + 2j]),
    "i": st.sampled_from([1, 2**63, -5, 0.5, "odd"]),
    "text": st.sampled_from(["a", "", "ä", 5]),
    "pair": st.sampled_from([[1.0, 2.0], [1.0], "odd", [2**60 + 1, 0.5]]),
    "ragged": st.sampled_from([[], [1.0], [1.0, 2.0, 3.0], [[1.0]], {"a": 1}]),
}
EXTRA_KEYS = ("more", "extra")
CUTS = st.lists(st.integers(0, 30), max_size=8)


@st.composite
def runs(draw: st.DrawFn, extra: bool) -> list[Document]:
    """Documents after the start: streams that come early and late, values of all kinds, pages and bulks among events."""
    documents: list[Document] = []
    numbers = dict.fromkeys(draw(st.permutations(STREAMS))[: draw(st.integers(1, 4))], 0)
    described: list[str] = []
    for _ in range(draw(st.integers(0, 25))):
        new = [name for name in numbers if name not in described]
        if new and (not described or draw(st.integers(0, 5)) == 0):
            described.append(new[0])
            documents.append(descriptor(new[0], **KEYS))
        name = draw(st.sampled_from(described))
        documents.append(_document(draw, name, numbers, extra))
    return [*documents, stop()] if draw(st.booleans()) else documents


def _document(draw: st.DrawFn, name: str, numbers: dict[str, int], extra: bool) -> Document:
    kind = draw(st.sampled_from(["event", "event", "event", "event", "event_page", "bulk_events", "resource"]))
    if kind == "resource":
        return "resource", {"uid": f"r{sum(numbers.values())}", "run_start": "u"}
    count = 1 if kind == "event" else draw(st.integers(1, 3))
    rows = [{key: draw(VALUES[key]) for key in KEYS} for _ in range(count)]
    if kind == "event_page":
        numbers[name] += count
        return page({key: [row[key] for row in rows] for key in KEYS}, name)
    for row in rows:
        if draw(st.integers(0, 4)) == 0:
            del row[draw(st.sampled_from(list(KEYS)))]
        if extra:
            row |= {key: key for key in draw(st.permutations(EXTRA_KEYS))[: draw(st.integers(0, 2))]}
    events = []
    for row in rows:
        numbers[name] += 1
        events.append(event(numbers[name], row, name, time=float(numbers[name])))
    return events[0] if kind == "event" else ("bulk_events", {name: [document for _, document in events]})


def mapped(batches: Iterable[Sequence[Document]]) -> list[Operation]:
    mapper = RunMapper(start())
    mapper.complaints.quiet = True
    given = [*mapper.create()]
    for batch in batches:
        given += mapper.take(batch)
    return given


def payloads(given: Iterable[Operation]) -> dict[str, bytes]:
    """What goes to Redis of each numeric stream, one entry after the other."""
    found: dict[str, bytes] = {}
    for operation in given:
        for column in operation.columns if isinstance(operation, AppendRows) else ():
            # a ragged entry says how long each row is, before or between the values
            if isinstance(column.encoding, NumericEncoding) and not column.encoding.ragged:
                for entry in encode(column.encoding, column.index, column.rows):
                    found[column.name] = found.get(column.name, b"") + entry.payload
    return found


def outline(given: Iterable[Operation]) -> list[tuple[Any, ...]]:
    """The documents, with the rows before each of them."""
    documents = [operation for operation in given if isinstance(operation, AddDocument)]
    return [(document.index, document.name, dict(document.rows)) for document in documents]


def assert_same(run: list[Document], cuts: list[int]) -> None:
    ends = sorted(min(cut, len(run)) for cut in cuts)
    batches = [run[begin:end] for begin, end in zip([0, *ends], [*ends, len(run)], strict=True)]
    whole = mapped([run])
    for other in (mapped(batches), mapped([[document] for document in run])):
        found, expected = columns(other), columns(whole)
        assert {name: repr(found[name]) for name in found} == {name: repr(expected[name]) for name in expected}
        assert payloads(other) == payloads(whole)
        assert declared(other) == declared(whole)
        assert outline(other) == outline(whole)


@given(runs(extra=False), CUTS)
def test_rows_entries_and_irregular_values_do_not_depend_on_batches(run: list[Document], cuts: list[int]) -> None:
    assert_same(run, cuts)


ROW = {"x": 1.0, "i": 1, "text": "a", "pair": [1.0, 2.0], "ragged": []}
MISSING_BEFORE = [descriptor(**KEYS), event(1, ROW), event(2, ROW | {"extra": 1})]
IN_ANOTHER_ORDER = [
    descriptor(**KEYS),
    event(1, ROW | {"extra": 1, "more": 2}),
    event(2, ROW | {"more": 2, "extra": 1}),
]


@given(runs(extra=True), CUTS)
@example(MISSING_BEFORE, [2])
@example(IN_ANOTHER_ORDER, [2])
def test_nor_do_values_of_keys_that_the_descriptor_lacks(run: list[Document], cuts: list[int]) -> None:
    assert_same(run, cuts)
