"""Documents about detectors' files that 0MQ dropped, of real plans: the run tells what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bluesky.run_engine import RunEngine

from blissdata_bluesky.listening import Listener, Serializer
from blissdata_bluesky.writer import BlissdataWriter

from .collected import load
from .emitted import Named
from .sources import SOURCES, Devices

DATUMS = "stream 'primary', 'img': {} datums that its events name were not heard"
NO_FRAMES = "stream 'primary', 'blob': no stream_datum of 3 events"
NO_FILE = "stream 'primary': a stream_resource of its stream_datums was not heard"


@pytest.mark.parametrize(
    ("source", "dropped", "most", "lacks"),
    [
        ("scan, datum", "none", 0, ""),
        ("scan, datum", "resource", 9, DATUMS.format(3)),
        ("scan, datum", "datum", 1, DATUMS.format(1)),
        ("scan, datum", "datum", 9, DATUMS.format(3)),
        ("scan, stream_datum", "none", 0, ""),
        ("scan, stream_datum", "stream_resource", 9, NO_FRAMES),
        ("scan, stream_datum", "stream_resource", 9, NO_FILE),
        ("scan, stream_datum", "stream_datum", 99, NO_FRAMES),
        ("fly, stream_datum", "stream_datum", 99, NO_FRAMES),
    ],
)
def test_what_was_not_heard_is_told(
    redis_url: str,
    writer: BlissdataWriter,
    RE: RunEngine,
    tmp_path: Path,
    source: str,
    dropped: str,
    most: int,
    lacks: str,
) -> None:
    documents: list[Named] = []
    RE.subscribe(lambda name, document: documents.append((name, document)))
    devices = Devices(tmp_path)
    devices.connect()
    SOURCES[source].drive(RE, SOURCES[source].plan(devices))
    listener = Listener(writer, Serializer.PICKLE, lambda line: None)
    for name, document in without(documents, dropped, most):
        listener.hear(name, document)
    assert writer.flush(90)
    info = load(redis_url, documents[0][1]["uid"]).info
    assert info["end_reason"] == ("FAILURE" if lacks else "SUCCESS")
    assert lacks in info["bluesky"].get("incomplete", "")


def without(documents: list[Named], dropped: str, most: int) -> list[Named]:
    """Without the first `most` of a type."""
    left: list[Any] = []
    for name, document in documents:
        if name == dropped and most:
            most -= 1
        else:
            left.append((name, document))
    return left
