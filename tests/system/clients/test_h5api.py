"""blissdata's h5api on runs that another process publishes: h5py's interface to a file that need not exist."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from blissdata import DataStore, ScanState
from blissdata.h5api import redis_hdf5

from blissdata_bluesky.connection import open_client
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.writer import BlissdataWriter

from ..collected import load
from ..emitted import KINDS, NUMBER, EmittedRun, give, values
from ..tiled_runs import eventually

Tell: TypeAlias = Callable[[], None]

UID = "00000000-1111-2222-3333-444444444444"
ROWS = 20
PUBLISHER = """
    import sys, time
    from blissdata_bluesky.writer import BlissdataWriter
    from tests.system.emitted import KINDS, NUMBER, EmittedRun, give, values

    url, journal, archive, uid, rows = sys.argv[1:]
    with BlissdataWriter(url, journal=journal, archive=archive, file_writer=None) as writer:
        run = EmittedRun(uid=uid, scan_id=5, motors=["number"])
        give(writer, [*run.documents, *run.describe("baseline", {"temperature": NUMBER})])
        give(writer, [*run.event({"temperature": 295.5}, "baseline"), *run.describe()])
        give(writer, run.events(range(2)))
        sys.stdin.readline()
        for row in range(2, int(rows)):
            give(writer, run.events([row]))
            time.sleep(0.01)
        give(writer, run.describe("dark", {"image": KINDS["image"]}))
        give(writer, run.event({"image": values(7)["image"]}, "dark"))
        sys.stdin.readline()
        give(writer, run.stop())
"""


@contextmanager
def published_elsewhere(url: str, directory: Path) -> Iterator[Tell]:
    """A run with two rows in a process of its own; call what it gives once for the other rows, and again for its end."""
    arguments = [url, directory / "journal", directory / "archive", UID, ROWS]
    command = [sys.executable, "-c", textwrap.dedent(PUBLISHER), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:

        def tell() -> None:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

        try:
            eventually(lambda: started(url))
            yield tell
            assert process.wait(60) == 0
        finally:
            process.kill()


def started(url: str) -> bool:
    """Whether the run has rows."""
    with open_client(url) as client:
        return bool(client.exists(scan_key(UID))) and load(url, UID).state == ScanState.STARTED


def live_file(url: str) -> redis_hdf5.File:
    """The run's file, as h5api makes it of Redis."""
    return redis_hdf5.File(load(url, UID).path, data_store=DataStore(url))


def test_a_running_scan_is_read_to_its_end(redis_url: str, tmp_path: Path) -> None:
    with published_elsewhere(redis_url, tmp_path) as tell, ThreadPoolExecutor(2) as pool:
        file = live_file(redis_url)
        assert set(file.keys()) == {"5.1", "5.2"}
        assert "end_time" not in set(file["5.1"])
        assert file["5.1/instrument/spectrum"].attrs["NX_class"] == "NXdetector"
        spectra = pool.submit(lambda: [*file["5.1/instrument/spectrum/data"]])
        slices = pool.submit(lambda: file["5.1/measurement/image"][3:6])
        tell()
        np.testing.assert_array_equal(slices.result(60), [values(row)["image"] for row in range(3, 6)])
        tell()
        np.testing.assert_array_equal(spectra.result(60), [values(row)["spectrum"] for row in range(ROWS)])


def test_streams_and_items_that_come_late(redis_url: str, tmp_path: Path) -> None:
    with published_elsewhere(redis_url, tmp_path) as tell:
        file = live_file(redis_url)
        assert "5.3" not in file
        tell()
        late = eventually(lambda: file["5.3"])
        np.testing.assert_array_equal(eventually(lambda: late["measurement/image"])[0], values(7)["image"])
        tell()
        assert eventually(lambda: file["5.1/end_time"][()]) == load(redis_url, UID).info["end_time"].encode()
    assert_all_is_there(file)
    assert_all_is_there(live_file(redis_url))


def assert_all_is_there(file: redis_hdf5.File) -> None:
    entry = file["5.1"]
    assert entry.attrs["NX_class"] == "NXentry"
    assert entry[entry.attrs["default"]].attrs["signal"] == "number"
    assert entry["measurement/image"].shape == (ROWS, 3, 4)
    assert entry["measurement/spectrum"].attrs["interpretation"] == "spectrum"
    for key in set(KINDS) - {"text", "ragged", "odd:na%me", "time", "_under"}:
        np.testing.assert_array_equal(entry["measurement"][key][:], [values(row)[key] for row in range(ROWS)])
    # a JSON stream, which the layout cannot have before the run is over
    assert [text.decode() for text in entry["measurement/text"]] == [values(row)["text"] for row in range(ROWS)]
    assert [*file["5.2/measurement/temperature"]] == [295.5]
    np.testing.assert_array_equal(file["5.3/measurement/image"][:], [values(7)["image"]])


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def long_exposure(pool: ThreadPoolExecutor, redis_url: str, tmp_path: Path) -> Iterator[Any]:
    """A run whose baseline is there, and nothing else for now; and its writer."""
    with BlissdataWriter(
        redis_url, journal=tmp_path / "journal", archive=tmp_path / "archive", file_writer=None, prepare_after=0.5
    ) as writer:
        run = EmittedRun(uid=UID, scan_id=5)
        run.describe("baseline", {"temperature": NUMBER})
        run.event({"temperature": 295.5}, "baseline")
        give(writer, run.documents)
        yield run, writer
        give(writer, run.stop())


def test_a_long_first_exposure_blocks_nobody_for_ever(
    long_exposure: Any, pool: ThreadPoolExecutor, redis_url: str
) -> None:
    """h5api waits while a scan is CREATED; `prepare_after` ends that, and what comes then is announced."""
    run, writer = long_exposure
    file = live_file(redis_url)
    assert set(pool.submit(file.keys).result(60)) == {"5.1", "5.2"}
    give(writer, [*run.describe(data_keys={"number": NUMBER}), *run.event({"number": 1.5})])
    assert eventually(lambda: file["5.1/measurement/number"])[0] == 1.5
