"""The same documents through TiledWriter into a stock server, and through us: users see the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest
from bluesky_tiled_plugins import TiledWriter
from tiled.client import from_uri
from tiled.server import SimpleTiledServer

from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import ALL_KINDS, Run, publish, row, stopped

# ragged arrays are nodes of their own in TiledWriter's layout, list columns in ours
KEYS = [key for key in ALL_KINDS if key != "ragged"]
ROWS = 7

pytestmark = [
    # the stock server leaves its log files open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.leaves("thread", reason="zarr, in the stock server, keeps its threads"),
]


@pytest.fixture
def stock() -> Iterator[Any]:
    """A client of a stock server with a catalog."""
    with SimpleTiledServer() as server, dask.config.set(scheduler="synchronous"):
        client = from_uri(server.uri)
        yield client
        client.context.http_client.close()


@pytest.fixture
def both(stock: Any, writer: BlissdataWriter, client: Any) -> tuple[Any, Any]:
    """One run with a baseline, in their tree and in ours."""
    run = Run(scan_id=1, plan_name="scan")
    documents = [
        run.start,
        run.describe("baseline", ["number", "text"]),
        run.event(row(0, ["number", "text"]), "baseline"),
        run.describe(keys=KEYS),
        *(run.event(row(index, KEYS)) for index in range(ROWS)),
        run.event(row(1, ["number", "text"]), "baseline"),
        run.stop(),
    ]
    theirs = TiledWriter(stock, batch_size=100)
    for name, document in documents:
        theirs(name, document)
    publish(writer, documents)
    return stock[run.uid], stopped(client, run.uid)


def _same_xarray(both: tuple[Any, Any]) -> None:
    for name in ("primary", "baseline"):
        theirs, ours = (run[name].read() for run in both)
        assert set(theirs.variables) == set(ours.variables)
        assert dict(theirs.sizes).keys() >= {"time"}
        assert sorted(theirs.sizes.values()) == sorted(ours.sizes.values())
        for key in theirs.variables:
            np.testing.assert_array_equal(theirs[key].values, ours[key].values)
            assert theirs[key].ndim == ours[key].ndim
            # TiledWriter has the declared dtype of arrays only
            if key != "small":
                assert theirs[key].dtype == ours[key].dtype, key
        assert set(theirs.coords) == set(ours.coords) == {"time"}


def _same_table(both: tuple[Any, Any]) -> None:
    theirs, ours = (run["primary"].base["internal"].read() for run in both)
    assert list(theirs.columns) == list(ours.columns)
    assert theirs.drop(columns="small").equals(ours.drop(columns="small"))


def _same_nodes(both: tuple[Any, Any]) -> None:
    theirs, ours = both
    assert sorted(theirs) == sorted(ours)
    assert [spec.name for spec in theirs.specs] == [spec.name for spec in ours.specs]
    for name in theirs:
        assert theirs[name].specs == ours[name].specs
        assert set(theirs[name].base) == set(ours[name].base)
        assert set(theirs[name].metadata) == set(ours[name].metadata)
        assert theirs[name].descriptors[0]["uid"] == ours[name].descriptors[0]["uid"]
    for key in ("image", "spectrum"):
        assert theirs["primary"][key].shape == ours["primary"][key].shape
        assert theirs["primary"][key].dtype == ours["primary"][key].dtype
    np.testing.assert_array_equal(theirs["primary"]["short"].read(), ours["primary"]["short"].read())
    assert theirs["primary"]["integer"].dtype == ours["primary"]["integer"].dtype


def _arrays_have_the_same_shared_dimensions(both: tuple[Any, Any]) -> None:
    for run in both:
        image, spectrum = run["primary"]["image"], run["primary"]["spectrum"]
        assert image.dims[0] == spectrum.dims[0] == "time"
        assert image.dims[2] == spectrum.dims[1] != image.dims[1]
        assert all(name.startswith("dim_int_") for name in image.dims[1:])


def test_users_see_the_same(both: tuple[Any, Any]) -> None:
    _same_xarray(both)
    _same_table(both)
    _same_nodes(both)
    _arrays_have_the_same_shared_dimensions(both)
