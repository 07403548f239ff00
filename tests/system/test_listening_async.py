"""Enums and tables of ophyd-async over 0MQ: what is heard is what a writer in the RunEngine's process keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .collected import assert_equal, columns
from .run_contract import assert_same_documents
from .zmq_site import closed, listening, running_engine, running_proxy


@pytest.mark.parametrize(("publisher", "serializer"), [("pickle", "pickle"), ("documented", "msgpack")])
def test_the_same_as_in_the_same_process(
    redis_url: str, tmp_path: Path, runs: RedisRuns, publisher: str, serializer: str
) -> None:
    with (
        running_proxy() as proxy,
        running_engine(proxy, tmp_path, serializer=publisher) as engine,
        listening(proxy, redis_url, tmp_path / "journal", "--serializer", serializer) as listener,
    ):
        listener.hears(engine)
        engine.do(f"asynchronous {tmp_path}")
        ((uid, documents),) = engine.runs().items()
        heard = closed(redis_url, uid)
        assert listener.end() == 0
        assert listener.faults == []
    with (
        RedisServer() as server,
        BlissdataWriter(server.url, journal=tmp_path / "own") as writer,
        RedisRuns(server.url) as own_runs,
    ):
        for name, document in documents:
            writer(name, document)
        assert writer.flush(90)
        own = closed(server.url, uid)
        assert own.info["end_reason"] == heard.info["end_reason"] == "SUCCESS"
        assert "incomplete" not in heard.info["bluesky"]
        assert len(heard.streams["primary:everything-strict"]) == 3
        assert_equal(columns(heard), columns(own))
        assert_same_documents(runs.get(uid).documents(), own_runs.get(uid).documents())
        start = dict(runs.get(uid).documents())["start"]
        assert start["mode"] == "Aaa"
        assert start["more"]["table"]["a_enum"] == ["Aaa", "Ccc"]
