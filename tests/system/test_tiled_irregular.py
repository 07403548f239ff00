"""Values that their column cannot hold: what Tiled shows of them."""

from __future__ import annotations

from typing import Any

import bluesky.preprocessors as bpp
import httpx
import numpy as np
import pyarrow as pa
from bluesky import RunEngine
from bluesky.plans import scan
from ophyd.sim import SynAxis, det

from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, publish, stopped


def test_a_motor_that_is_declared_an_integer_shows_where_it_was(
    RE: RunEngine, writer: BlissdataWriter, client: Any
) -> None:
    motor = SynAxis(name="motor")  # stands at 0, an integer, when the baseline describes it
    RE.subscribe(writer)
    (uid,) = RE(bpp.baseline_wrapper(scan([det], motor, -1, 0.5, 4), [motor]))
    assert writer.flush(90)
    baseline = stopped(client, uid)["baseline"]
    assert baseline.base["internal"].read()["motor"].tolist() == [0.0, 0.5]
    assert baseline["motor"].read().tolist() == [0.0, 0.5]
    assert baseline.read()["motor"].dtype == np.float64


def test_what_is_no_number_is_nan_and_exact_in_the_documents(writer: BlissdataWriter, client: Any) -> None:
    run = Run(scan_id=1, plan_name="count")
    documents = [
        run.start,
        run.describe(keys=["integer"]),
        run.event({"integer": 5}),
        run.event({"integer": None}),
        run.stop(),
    ]
    publish(writer, documents)
    served = stopped(client, run.uid)
    values = served["primary"].base["internal"].read()["integer"].tolist()
    assert values[0] == 5
    assert np.isnan(values[1])
    assert [doc["data"]["integer"] for name, doc in served.documents() if name == "event"] == [5, None]


def test_lists_show_what_came_and_no_invented_zeros(writer: BlissdataWriter, client: Any, server: TiledServer) -> None:
    keys = {
        "fixed": {"dtype": "array", "dtype_numpy": "<i8", "shape": [2], "source": "s"},
        "ragged": {"dtype": "array", "dtype_numpy": "<f4", "shape": [None], "source": "s"},
        "small": {"dtype": "number", "dtype_numpy": "<f4", "shape": [], "source": "s"},
    }
    rows = [
        {"fixed": [1, 2], "ragged": [1.0], "small": 0.5},
        {"fixed": [3], "ragged": [[1.0]], "small": None},
        {"fixed": [4, 5, 6], "ragged": "text", "small": 3},
        {"fixed": [1.5, 2], "ragged": [2.0, 3.0], "small": "text"},
        {"fixed": None, "ragged": None, "small": 1.0},
    ]
    run = Run(scan_id=1)
    publish(writer, [run.start, run.describe(**keys), *map(run.event, rows), run.stop()])
    served = stopped(client, run.uid)["primary"]
    url = f"http://127.0.0.1:{server.port}/api/v1/table/full/{run.uid}/primary/internal"
    answer = httpx.get(url, headers={"Authorization": f"Apikey {server.api_key}"}, timeout=60)
    table = pa.ipc.open_file(answer.content).read_all()
    assert table["fixed"].to_pylist() == [[1, 2], [3], [4, 5, 6], None, None]
    assert table["ragged"].to_pylist() == [[1.0], None, None, [2.0, 3.0], None]
    np.testing.assert_array_equal(table["small"].to_numpy(), [0.5, np.nan, 3, np.nan, 1])
    assert len(served.read()["fixed"]) == 5
