"""Generated descriptors and events: blissdata, our runs, Tiled and the archive give what was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blissdata_bluesky.runs import ArchivedRuns, RedisRuns
from blissdata_bluesky.tiled import TiledServer

from .archive_site import Site, open_site
from .collected import load
from .emitted import EmittedRun
from .test_types_matrix import BY_ARRAY, FORMS, in_form
from .tiled_runs import stopped
from .type_checks import (
    http,
    read_columns,
    wrong_arrays,
    wrong_columns,
    wrong_documents,
    wrong_served_documents,
    wrong_tables,
)
from .type_matrix import DATA_KEYS, KINDS, LACKING, Kind, array, same

NUMBERS = st.integers(-(2**66), 2**66) | st.floats() | st.floats(width=32) | st.booleans()
ARRAYS = hnp.arrays(
    hnp.integer_dtypes(endianness="?") | hnp.floating_dtypes(endianness="?") | hnp.boolean_dtypes(),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)
VALUES = (
    st.sampled_from(list(KINDS.values()))
    | (NUMBERS | st.text() | st.lists(NUMBERS, max_size=3) | st.lists(st.text(), max_size=3)).map(same)
    | ARRAYS.map(array)
)
DECLARED = st.sampled_from([data_key for data_key, _ in DATA_KEYS.values()]) | st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["number", "integer", "boolean", "string", "array"]),
        "shape": st.lists(st.none() | st.integers(0, 4), max_size=3),
    },
    optional={
        "dtype_numpy": st.sampled_from(["<f8", ">f4", "<f2", "<i8", "|u1", "|b1", "<c16", "<U4", "|S3", "<M8[s]"])
    },
)


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(redis_url, tmp_path) as site:
        yield site


@pytest.mark.parametrize("examples", [25, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_whatever_is_given_is_kept(site: Site, server: TiledServer, client: Any, examples: int) -> None:
    # to shrink an example takes minutes here
    @settings(max_examples=examples, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.lists(DECLARED, min_size=1, max_size=5), st.integers(1, 5), st.sampled_from(FORMS), st.data())
    def check(declared: list[dict[str, Any]], rows: int, form: str, data: st.DataObject) -> None:
        values = VALUES if "page" in form else VALUES | st.just(LACKING)
        # what is in one array is of one kind
        kinds = (
            values.map(lambda kind: [kind] * rows)
            if form == BY_ARRAY
            else st.lists(values, min_size=rows, max_size=rows)
        )
        columns = {f"k{i}": data.draw(kinds) for i in range(len(declared))}
        assert_kept(site, server, client, form, dict(zip(columns, declared, strict=True)), columns)

    check()


def assert_kept(
    site: Site,
    server: TiledServer,
    client: Any,
    form: str,
    data_keys: dict[str, dict[str, Any]],
    columns: dict[str, list[Kind]],
) -> None:
    run = EmittedRun(plan_name="generated")
    documents = [*run.documents, *run.describe(data_keys=data_keys)]
    events = []
    for row in range(len(columns["k0"])):
        data = {key: kinds[row].given for key, kinds in columns.items() if kinds[row] is not LACKING}
        events += [document for _, document in run.event(data)]
    site.give([*documents, *in_form(form, "primary", events), *run.stop()])
    found = read_columns(
        load(site.url, run.uid), {"primary": columns}, {"primary": data_keys}, by_array=form == BY_ARRAY
    )
    assert wrong_columns(found) == []
    with RedisRuns(site.url) as runs:
        assert wrong_documents(runs.get(run.uid), run.documents, found) == []
    assert wrong_served_documents(stopped(client, run.uid), run.documents, found) == []
    with http(server) as tiled:
        assert wrong_tables(tiled, run.uid, found) == []
        assert wrong_arrays(tiled, run.uid, found) == []
    site.archive()
    with ArchivedRuns(site.root) as files:
        assert wrong_documents(files.get(run.uid, site.hint(run.uid)), run.documents, found) == []
