"""Whose the events of a bulk_events are: a publisher and a listener give the same answer."""

from __future__ import annotations

from typing import Any

import pytest

from blissdata_bluesky.errors import DocumentError
from blissdata_bluesky.listening.heard import HeardRun
from blissdata_bluesky.mapping.bulk import datums_of_bulk, events_of_bulk, first_of_bulk
from blissdata_bluesky.publish import Routes, RunFeed

FIRST = {"descriptor": "primary", "seq_num": 1}
SECOND = {"descriptor": "primary", "seq_num": 2}
DESCRIPTOR = {"uid": "primary", "run_start": "run", "name": "primary"}


@pytest.mark.parametrize(
    ("bulk", "events"),
    [
        ({"x": [FIRST], "y": (SECOND,)}, [FIRST, SECOND]),
        ({"x": [], "y": None, "z": [FIRST, SECOND]}, [FIRST, SECOND]),
        ({"x": [None, FIRST], "y": ["x", SECOND]}, [FIRST, SECOND]),
    ],
)
def test_first_event_that_is_one_names_the_run(bulk: dict[str, Any], events: list[dict[str, Any]]) -> None:
    assert first_of_bulk(bulk) is events[0]
    assert [event for event in events_of_bulk(bulk) if isinstance(event, dict)] == events
    routes, feed = routes_of_one_run()
    assert routes.find("bulk_events", bulk) is feed
    heard = HeardRun("run", "scan")
    heard.take("descriptor", DESCRIPTOR)
    assert heard.take("bulk_events", bulk) == ""
    assert heard.missing({"num_events": {"primary": 2}}) == ""


@pytest.mark.parametrize("bulk", [{}, {"x": FIRST}, {"x": "primary"}, {"x": [None, 5, "primary", []]}])
def test_bulk_without_an_event_is_of_no_run(bulk: dict[str, Any]) -> None:
    assert first_of_bulk(bulk) == {}
    routes, _ = routes_of_one_run()
    with pytest.raises(DocumentError, match="descriptor=None"):
        routes.find("bulk_events", bulk)


def routes_of_one_run() -> tuple[Routes, RunFeed]:
    routes, feed = Routes(), RunFeed("run", "publisher", {}, None)
    routes.add(feed)
    assert routes.find("descriptor", DESCRIPTOR) is feed
    return routes, feed


def test_datums_of_a_bulk_keep_their_own_kwargs() -> None:
    bulk = {"resource": "r", "datum_ids": ["a", "b"], "datum_kwarg_list": [{"point": 0}, {"frame": 1, "gain": 2}]}
    assert datums_of_bulk(bulk) == [
        {"datum_id": "a", "resource": "r", "datum_kwargs": {"point": 0}},
        {"datum_id": "b", "resource": "r", "datum_kwargs": {"frame": 1, "gain": 2}},
    ]


@pytest.mark.parametrize(
    "bulk", [{}, {"datum_ids": "ab", "datum_kwarg_list": []}, {"datum_ids": ["a"], "datum_kwarg_list": []}]
)
def test_a_bulk_of_no_datums_is_refused(bulk: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match="of one length"):
        datums_of_bulk(bulk)
