"""Every kind of value under every kind of data key in every type of document: kept exactly, whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from event_model import pack_event_page

from blissdata_bluesky.runs import ArchivedRuns, RedisRuns
from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.writer import BlissdataWriter

from .archive_site import joined_runs, open_site
from .collected import load
from .emitted import EmittedRun, Named, give
from .published import levels
from .tiled_runs import stopped
from .type_checks import (
    Columns,
    http,
    read_columns,
    wrong_arrays,
    wrong_columns,
    wrong_documents,
    wrong_served_documents,
    wrong_tables,
)
from .type_matrix import DATA_KEYS, KINDS, LACKING, Kind

BY_ARRAY = "event_page of arrays"
FORMS = ("event", "event_page", "bulk_events", BY_ARRAY)


class Cell(NamedTuple):
    """A data key that is given an odd value before a regular one, or after it."""

    data_key: str
    kind: str
    first: bool

    def batches(self, form: str) -> list[list[Kind]]:
        """The values of the documents that follow each other; all cells of a stream have as many."""
        odd, regular = KINDS[self.kind], DATA_KEYS[self.data_key][1]
        if form == BY_ARRAY:
            return [[odd, odd]] if self.first else [[regular], [odd, odd]]
        # the columns of a page are of one length
        lacking = [] if form == "event_page" else [LACKING]
        return [[odd, regular, *lacking, odd]] if self.first else [[regular, *lacking, odd], [regular, odd]]


ALL = tuple(DATA_KEYS)
# one of each kind of column
FEW = ("number", "i1", "string", "c8", "open", "texts", "points")
CASES = [
    *(pytest.param(form, ALL, id=f"{form}-all") for form in FORMS[:2]),
    *(pytest.param(form, FEW, id=f"{form}-few") for form in FORMS[2:]),
    *(pytest.param(form, ALL, marks=pytest.mark.long, id=f"{form}-all") for form in FORMS[2:]),
]


class Matrix:
    """A run with all cells: `run` as a RunEngine emits it, `documents` the same in documents of one form."""

    def __init__(self, form: str, data_keys: Sequence[str]) -> None:
        self.form = form
        self.run = EmittedRun(plan_name="matrix")
        self.documents = list(self.run.documents)
        self._data_keys: dict[str, dict[str, Any]] = {}
        self._given: dict[str, dict[str, list[Kind]]] = {}
        for data_key in data_keys:
            for first in (True, False):
                self._add_stream(data_key, {kind: Cell(data_key, kind, first).batches(form) for kind in KINDS}, first)
        self.documents += self.run.stop()

    def _add_stream(self, data_key: str, cells: dict[str, list[list[Kind]]], first: bool) -> None:
        stream = f"{data_key}-odd-{'first' if first else 'later'}"
        self._data_keys[stream] = dict.fromkeys(cells, DATA_KEYS[data_key][0])
        self._given[stream] = {kind: [each for batch in batches for each in batch] for kind, batches in cells.items()}
        self.documents += self.run.describe(stream, self._data_keys[stream])
        for batch in zip(*cells.values(), strict=True):
            self._add(stream, dict(zip(cells, batch, strict=True)))

    def _add(self, stream: str, columns: dict[str, list[Kind]]) -> None:
        events = []
        for row in range(len(next(iter(columns.values())))):
            data = {key: kinds[row].given for key, kinds in columns.items() if kinds[row] is not LACKING}
            events += [document for _, document in self.run.event(data, stream)]
        self.documents += in_form(self.form, stream, events)

    def columns(self, url: str) -> Columns:
        """As blissdata reads them."""
        scan = load(url, self.run.uid)
        return read_columns(scan, self._given, self._data_keys, by_array=self.form == BY_ARRAY)


def in_form(form: str, stream: str, events: list[dict[str, Any]]) -> list[Named]:
    if form == "event":
        return [("event", event) for event in events]
    if form == "bulk_events":
        return [("bulk_events", {stream: events})]
    page: dict[str, Any] = dict(pack_event_page(*events))
    if form == BY_ARRAY:
        page |= {member: np.array(page[member]) for member in ("seq_num", "time")}
        page |= {
            "data": {key: stacked(column) for key, column in page["data"].items()},
            "timestamps": {key: np.array(column) for key, column in page["timestamps"].items()},
        }
    return [("event_page", page)]


def stacked(values: list[Any]) -> Any:
    """A column of a page as one array, where numpy has one for such values."""
    if isinstance(values[0], list | tuple) or (isinstance(values[0], np.ndarray) and not values[0].ndim):
        return values
    if isinstance(values[0], np.ma.MaskedArray):
        return np.ma.stack(values)
    array = np.stack([np.asarray(value) for value in values])
    return values if array.dtype.hasobject else array


@pytest.mark.parametrize(("form", "data_keys"), CASES)
def test_every_cell_live(
    redis_url: str,
    writer: BlissdataWriter,
    server: TiledServer,
    client: Any,
    caplog: pytest.LogCaptureFixture,
    form: str,
    data_keys: Sequence[str],
) -> None:
    matrix = Matrix(form, data_keys)
    give(writer, matrix.documents)
    assert set(levels(caplog)) == {"WARNING"}
    found = matrix.columns(redis_url)
    assert wrong_columns(found) == []
    with RedisRuns(redis_url) as runs:
        assert wrong_documents(runs.get(matrix.run.uid), matrix.run.documents, found) == []
    assert wrong_served_documents(stopped(client, matrix.run.uid), matrix.run.documents, found) == []
    with http(server) as tiled:
        assert wrong_tables(tiled, matrix.run.uid, found) == []
        if form == "event":
            assert wrong_arrays(tiled, matrix.run.uid, found) == []


def test_every_cell_archived(redis_url: str, tmp_path: Path) -> None:
    matrix = Matrix("event", ALL)
    with open_site(redis_url, tmp_path) as site:
        site.give(matrix.documents)
        found = matrix.columns(redis_url)
        site.archive()
        hint = site.hint(matrix.run.uid)
        site.expire(matrix.run.uid)
        with ArchivedRuns(site.root) as files, joined_runs(site) as joined:
            for run in (files.get(matrix.run.uid, hint), joined.get(matrix.run.uid, hint)):
                assert wrong_documents(run, matrix.run.documents, found) == []
