"""A Tiled client that holds a run, its streams and columns while it ends, is trimmed, archived and expires."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blissdata_bluesky.catalog import Registrar, Registration, catalog_of
from blissdata_bluesky.tiled import TiledServer

from .archive_site import Site, open_site
from .run_contract import assert_same
from .test_catalog_archived import connected
from .tiled_runs import ALL_KINDS, Run, eventually, row, started

ROWS = 12


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(redis_url, tmp_path) as site:
        site.root.mkdir(exist_ok=True)
        yield site


class Holder:
    """What a client got while the run went on, and asks again and again."""

    def __init__(self, client: Any, uid: str) -> None:
        self.run = started(client, uid)
        self.stream = self.run["primary"]
        self.table = self.stream.base["internal"]
        self.image = self.stream["image"]
        self.shape = self.image.shape

    def assert_sees(self, rows: int) -> None:
        """Each of them gives the rows as they were published, by whatever they are read."""
        expected = [row(index) for index in range(rows)]
        table = self.table.read()
        assert set(ALL_KINDS) - set(table.columns) == {"spectrum", "image"}
        assert table["seq_num"].tolist() == list(range(1, rows + 1))
        for key in ("number", "small", "integer", "boolean", "text"):
            assert table[key].tolist() == [values[key] for values in expected], key
        # an array keeps the shape that the client knows
        assert self.image.shape == self.shape
        np.testing.assert_array_equal(self.image.read(), [values["image"] for values in expected[: self.shape[0]]])
        data = self.stream.read()
        # lists come as text, and `text` has been compared
        for key in ALL_KINDS.keys() - {"text", "short", "ragged"}:
            np.testing.assert_array_equal(data[key].values, [values[key] for values in expected], key)

    def documents(self) -> list[Any]:
        return list(self.run.documents())


def test_a_run_that_is_held_while_it_ends_is_trimmed_and_expires(site: Site) -> None:
    run = Run(scan_id=1)
    with TiledServer(site.url, archive=site.root) as server, connected(server) as client:
        site.give([run.start, run.describe(), run.event(row(0))])
        holder = Holder(client, run.uid)
        for index in range(1, 8):
            # one by one, so that each row is an entry of its own
            site.give([run.event(row(index))])
        eventually(lambda: len(holder.table.read()) == 8)
        holder.assert_sees(8)
        archive(site, run)
        trim(site, run.uid, 8)
        holder.assert_sees(8)
        for index in range(8, ROWS):
            site.give([run.event(row(index))])
        stop = run.stop()
        site.give([stop])
        eventually(lambda: len(holder.table.read()) == ROWS)
        holder.assert_sees(ROWS)
        documents = eventually(lambda: found if (found := holder.documents())[-1][0] == "stop" else None)
        assert [name for name, _ in documents] == ["start", "descriptor", *["event"] * ROWS, "stop"]
        assert_same(documents[-1][1], stop[1])
        phases: list[Callable[[], None]] = [
            lambda: archive(site, run, stop[1]),
            lambda: trim(site, run.uid, ROWS - 1),
            lambda: site.expire(run.uid),
            site.wipe,
        ]
        for bring in phases:
            bring()
            holder.assert_sees(ROWS)
            assert_same(holder.documents(), documents)


def archive(site: Site, run: Run, stop: dict[str, Any] | None = None) -> None:
    """As the archiver does it: the file, then the list."""
    site.archive_elsewhere()
    with Registrar(catalog_of(site.root)) as registrar:
        registrar.register([Registration(run.uid, run.start[1], stop, file=site.hint(run.uid))])


def trim(site: Site, uid: str, first: int) -> None:
    columns = site.columns(uid)
    assert columns
    for key in columns.values():
        site.trim(key, first)
        ((entry, _),) = site.client.xrange(key, count=1)
        assert int(entry.split(b"-")[0]) >= min(first, ROWS - 1) - 1, "nothing was trimmed"
