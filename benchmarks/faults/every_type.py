"""A run that has a document of every type."""

from __future__ import annotations

from typing import Any

from event_model import compose_run

Document = tuple[str, dict[str, Any]]


def every_type() -> list[Document]:
    """A run that has a document of every type, and the events 0, 1, 2 … in its stream."""
    run = compose_run()
    names = {"object_name": "dev", "source": "s"}
    keys: dict[str, Any] = {
        "value": {"dtype": "integer", "dtype_numpy": "<i8", "shape": [], **names},
        "streamed": {"dtype": "array", "dtype_numpy": "<u2", "shape": [2], "external": "STREAM:", **names},
    }
    stream = run.compose_descriptor(name="primary", data_keys=keys, object_keys={"dev": list(keys)})
    resource_ = run.compose_resource(spec="x", root="/", resource_path="r", resource_kwargs={})
    streamed = run.compose_stream_resource(mimetype="x/x", uri="file://x/r", data_key="streamed", parameters={})

    def event(number: int) -> dict[str, Any]:
        return stream.compose_event(data={"value": number}, timestamps={"value": 1.0}, validate=False)

    page = stream.compose_event_page(
        data={"value": [1, 2]}, timestamps={"value": [1.0, 1.0]}, seq_num=[2, 3], time=[1.0, 2.0], validate=False
    )
    return [
        ("start", run.start_doc),
        ("descriptor", stream.descriptor_doc),
        ("event", event(0)),
        ("event_page", page),
        ("bulk_events", {"primary": [event(3), event(4)]}),
        ("resource", resource_.resource_doc),
        ("datum", resource_.compose_datum(datum_kwargs={"i": 0})),
        ("datum_page", dict(resource_.compose_datum_page(datum_kwargs={"i": [1, 2]}))),
        ("stream_resource", streamed.stream_resource_doc),
        ("stream_datum", streamed.compose_stream_datum({"start": 0, "stop": 5}, descriptor=stream.descriptor_doc)),
        ("stop", run.compose_stop()),
    ]


TYPES = [name for name, _ in every_type()]
ROWS = 5
EVENT_TYPES = {"event", "event_page", "bulk_events"}
