"""Frames that detectors wrote, of real runs: blissdata's and Tiled's clients read what the file has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import h5py
import numpy as np
import pytest
from bluesky.run_engine import RunEngine

from .collected import load
from .emitted import Named
from .fidelity import Followed, Station, open_station
from .sources import SOURCES, Devices

pytestmark = pytest.mark.leaves("thread", reason="the pool of the module's Tiled server grows when it has to")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where detectors write, and everybody may read."""
    return tmp_path_factory.mktemp("detectors")


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Station]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BLISSDATA_BLUESKY_ROOTS", str(files))
        with open_station(tmp_path_factory.mktemp("station")) as station:
            yield station


@pytest.fixture
def devices(RE: RunEngine, files: Path) -> Devices:
    devices = Devices(files)
    devices.connect()
    return devices


def assert_frames(station: Station, uid: str, key: str, expected: np.ndarray[Any, Any], dtype: str) -> None:
    """All of them, and some; `expected`: one after another, whatever belongs to one event; `dtype`: as described."""
    stream = load(station.site.url, uid).streams[f"primary:{key}"]
    rows, shape = len(stream), expected.shape[1:]
    per_row = len(expected) // rows
    served = station.served(uid)["primary"][key]
    assert stream[:].dtype == served.dtype == dtype
    np.testing.assert_array_equal(stream[:].reshape(-1, *shape), expected)
    np.testing.assert_array_equal(stream[1:3].reshape(-1, *shape), expected[per_row : 3 * per_row])
    np.testing.assert_array_equal(stream[-1].reshape(-1, *shape), expected[-per_row:])
    np.testing.assert_array_equal(served.read().reshape(-1, *shape), expected)
    np.testing.assert_array_equal(served[1:3].reshape(-1, *shape), expected[per_row : 3 * per_row])


def in_file(documents: list[Named], key: str) -> np.ndarray[Any, Any]:
    """What h5py reads from the files of a key, in the order of its stream_datums."""
    resources = {document["uid"]: document for name, document in documents if name == "stream_resource"}
    found = []
    for resource, indices in (
        (resources[document["stream_resource"]], document["indices"])
        for name, document in documents
        if name == "stream_datum"
    ):
        if resource["data_key"] == key:
            with h5py.File(urlparse(resource["uri"]).path, "r") as file:
                found.append(file[resource["parameters"]["dataset"]][indices["start"] : indices["stop"]])
    return np.concatenate(found)


@pytest.mark.parametrize("name", ["fly, stream_datum", "collect while completing, stream_datum", "scan, stream_datum"])
def test_frames_in_hdf5(name: str, RE: RunEngine, devices: Devices, station: Station) -> None:
    followed = Followed(station)
    RE.subscribe(followed)
    RE(SOURCES[name].plan(devices))
    (uid,) = followed.uids
    followed.assert_faithful(uid)
    followed.assert_rows(uid)
    for key in ("blob", "blob-sum"):
        expected = in_file(followed.emitted(uid), key)
        assert expected.any()
        assert len(np.unique(expected, axis=0)) == (3 if name.startswith("scan") else 1)
        assert_frames(station, uid, key, expected, expected.dtype.str)
    data = station.served(uid)["primary"].read()
    np.testing.assert_array_equal(data["blob"].values.reshape(-1, 240, 320), in_file(followed.emitted(uid), "blob"))


def test_frames_of_datums(RE: RunEngine, devices: Devices, station: Station, files: Path) -> None:
    followed = Followed(station)
    RE.subscribe(followed)
    RE(SOURCES["scan, datum"].plan(devices))
    (uid,) = followed.uids
    followed.assert_faithful(uid)
    (resource,) = [document for name, document in followed.emitted(uid) if name == "resource"]
    paths = [files / f"{resource['resource_path']}_{index}.npy" for index in range(3)]
    expected = np.stack([np.load(path) for path in paths])
    assert expected.any()
    # ophyd.sim does not say that they are integers
    assert_frames(station, uid, "img", expected, "<f8")
