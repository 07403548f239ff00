"""Values that their column cannot hold: what Tiled shows of them."""

from __future__ import annotations

from typing import Any

import bluesky.preprocessors as bpp
import numpy as np
from bluesky import RunEngine
from bluesky.plans import scan
from ophyd.sim import SynAxis, det

from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, publish, stopped


def test_a_motor_that_is_declared_an_integer_shows_where_it_was(
    RE: RunEngine, writer: BlissdataWriter, client: Any
) -> None:
    motor = SynAxis(name="motor")  # stands at 0, an integer, when the baseline describes it
    RE.subscribe(writer)
    (uid,) = RE(bpp.baseline_wrapper(scan([det], motor, -1, 0.5, 4), [motor]))
    assert writer.flush(10)
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
