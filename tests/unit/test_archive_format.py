"""What an archived run's file may be, what is said of all others, and how values become texts in it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blissdata_bluesky.archive import ArchivedFile, FileSpan
from blissdata_bluesky.archive.columns import Written
from blissdata_bluesky.archive.faults import fault_of, is_of_disk
from blissdata_bluesky.archive.format import FORMAT, FORMAT_ATTRIBUTE
from blissdata_bluesky.archive.room import ROOM_BYTES, copy_sparsely, make_room, take_room
from blissdata_bluesky.archive.state import ArchiveState, load_state, save_state, state_path
from blissdata_bluesky.errors import ArchiveError, ArchiveFormatError, RunNotFoundError, RunUnavailableError
from blissdata_bluesky.protocol import text_of, value_of

from .test_packing import same
from .test_tagged import VALUES

ASKED = {
    "look": lambda file: file.look(),
    "rows": lambda file: file.rows(["primary:det"]),
    "read": lambda file: file.read([FileSpan("primary:det", 0, 1)]),
}


@pytest.fixture(params=ASKED)
def ask(request: pytest.FixtureRequest) -> Any:
    """Each of the methods of `ArchivedFile`."""
    return ASKED[request.param]


def h5_file(path: Path, **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
    return path


def test_a_file_that_is_not_there(tmp_path: Path, ask: Any) -> None:
    with pytest.raises(RunNotFoundError, match="there is no archived run .*none.h5: was it moved or deleted?"):
        ask(ArchivedFile(tmp_path / "none.h5"))


def test_a_newer_format(tmp_path: Path, ask: Any) -> None:
    path = h5_file(tmp_path / "newer.h5", **{FORMAT_ATTRIBUTE: FORMAT + 1})
    with pytest.raises(ArchiveFormatError, match=f"newer.h5 has format {FORMAT + 1}, .* up to {FORMAT}: open it with"):
        ask(ArchivedFile(path))


@pytest.mark.parametrize(
    ("attributes", "is_run"), [({FORMAT_ATTRIBUTE: FORMAT + 1}, True), ({FORMAT_ATTRIBUTE: "one"}, True), ({}, False)]
)
def test_whether_a_file_is_one_of_ours(tmp_path: Path, attributes: dict[str, Any], is_run: bool) -> None:
    assert ArchivedFile(h5_file(tmp_path / "x.h5", **attributes)).is_run == is_run


def test_what_is_no_hdf5_is_not_known_to_be_one_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("a text")
    with pytest.raises(OSError, match="signature not found"):
        _ = ArchivedFile(tmp_path / "x.h5").is_run


def test_an_hdf5_file_of_others(tmp_path: Path, ask: Any) -> None:
    with pytest.raises(ArchiveFormatError, match="others.h5 is no archived run: read it with h5py"):
        ask(ArchivedFile(h5_file(tmp_path / "others.h5", default="entry")))


@pytest.mark.parametrize("content", [b"a text", b"", b"\0" * 10_000], ids=["text", "empty", "zeros"])
def test_a_file_that_is_no_hdf5_is_refused_at_once(tmp_path: Path, ask: Any, content: bytes) -> None:
    path = tmp_path / "text.h5"
    path.write_bytes(content)
    begun = time.process_time()
    with pytest.raises(ArchiveFormatError, match="text.h5 is no archived run"):
        ask(ArchivedFile(path))
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("odd", ["one", np.array([1, 2]), 1.5, h5py.Empty("f4")], ids=["text", "two", "float", "empty"])
def test_a_format_that_is_no_number(tmp_path: Path, ask: Any, odd: Any) -> None:
    path = h5_file(tmp_path / "odd.h5", **{FORMAT_ATTRIBUTE: odd})
    with pytest.raises(ArchiveFormatError, match=r"odd\.h5 is no archived run"):
        ask(ArchivedFile(path))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_at_all(tmp_path: Path, ask: Any, make: Any) -> None:
    make(tmp_path / "odd.h5")
    with pytest.raises(ArchiveFormatError, match=r"odd\.h5 is no archived run"):
        ask(ArchivedFile(tmp_path / "odd.h5"))


def test_a_file_without_its_group_does_not_answer(tmp_path: Path) -> None:
    path = h5_file(tmp_path / "hollow.h5", **{FORMAT_ATTRIBUTE: FORMAT})
    with pytest.raises(
        RunUnavailableError, match="hollow.h5 cannot be read .*`blissdata-bluesky archive` makes it again"
    ):
        ArchivedFile(path).look()


@given(VALUES | st.text() | st.text().map("json:".__add__))
@example("")
@example("json:")
@example("json:1")
@example("a\0b")
@example("\0")
@example("\ud800")
@example(1.0)
@example(float("nan"))
def test_every_value_comes_back_from_its_text(value: Any) -> None:
    text = text_of(value)
    assert "\0" not in text
    assert text.encode().decode() == text
    assert same(value, value_of(text))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_string_is_its_own_text(text: str) -> None:
    assert text_of(text) == text or text.startswith("json:")


STATE = ArchiveState(1234, {"/1.1/instrument/det/data": Written(7, 2**32 - 1)}, begun=True)


def test_the_state_comes_back(tmp_path: Path) -> None:
    path = state_path(tmp_path / "run.finished-journal")
    assert path == state_path(tmp_path / "run.journal")
    save_state(path, "a-uid", STATE)
    assert load_state(path) == STATE
    assert list(tmp_path.iterdir()) == [path]


def garbage() -> list[bytes]:
    whole = {"offset": 1, "begun": True, "progress": {"/a": [1, 2]}}
    odd: list[Any] = [None, 1, [], "x", {}, {**whole, "progress": [1]}, {**whole, "progress": {"/a": 5}}]
    odd += [
        {**whole, "progress": {"/a": [1, 2, 3]}},
        {**whole, "offset": "x"},
        {**whole, "progress": {"/a": [None, 2]}},
    ]
    odd += [{"offset": 1, "progress": {}}, {**whole, "offset": None}]
    return [
        b"",
        b"\0\xff",
        b'{"offset": 12',
        b'{"offset": 1e999, "progress": {}}',
        b"[" * 100_000,
        *(json.dumps(value).encode() for value in odd),
    ]


@pytest.mark.parametrize("content", garbage(), ids=lambda content: content[:40].decode(errors="replace"))
def test_a_damaged_state_is_one_of_a_run_that_nobody_has_begun(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.archive"
    path.write_bytes(content)
    assert load_state(path) == ArchiveState()


def test_no_state_and_one_that_cannot_be_kept(tmp_path: Path) -> None:
    assert load_state(tmp_path / "none.archive") == ArchiveState()
    with pytest.raises(ArchiveError, match=r"run a-uid: .* in .*none\.archive \(.*\); its journal is kept\. See"):
        save_state(tmp_path / "none" / "none.archive", "a-uid", STATE)


def test_a_file_with_room_is_longer_takes_no_disk_and_is_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "room.h5"
    with h5py.File(path, "w", locking=False) as file:
        file["rows"] = np.arange(1000)
        file.flush()
        size, descriptor = file.id.get_filesize(), file.id.get_vfd_handle()
        make_room(descriptor, size)
        assert path.stat().st_size == size + ROOM_BYTES
        assert path.stat().st_blocks * 512 < 2**20
    with path.open("r+b") as raw:
        # what a writer leaves that is killed before it has noted how far its file reaches
        raw.seek(size + 5000)
        raw.write(b"rows that nobody counts")
    with h5py.File(path, "r", locking=False) as file:
        np.testing.assert_array_equal(file["rows"], np.arange(1000))
    descriptor = os.open(path, os.O_RDWR)
    take_room(descriptor, size)
    os.close(descriptor)
    assert path.stat().st_size == size
    with h5py.File(path, "r", locking=False) as file:
        np.testing.assert_array_equal(file["rows"], np.arange(1000))


def test_a_copy_has_no_room_and_takes_no_more_disk(tmp_path: Path) -> None:
    path, copy = tmp_path / "room.h5", tmp_path / "copy.h5"
    with h5py.File(path, "w", locking=False) as file:
        file["rows"] = np.arange(100_000)
        file.flush()
        size, descriptor = file.id.get_filesize(), file.id.get_vfd_handle()
        make_room(descriptor, size)
        copy_sparsely(descriptor, copy, size)
        assert copy.stat().st_size == size
        with h5py.File(copy, "r", locking=False) as copied:
            np.testing.assert_array_equal(copied["rows"], np.arange(100_000))
        # of a file whose writer was killed, nobody knows where its room begins
        copy_sparsely(descriptor, copy, size + ROOM_BYTES)
        assert copy.stat().st_size == size + ROOM_BYTES
        assert copy.stat().st_blocks * 512 < size + 2**20
    with h5py.File(copy, "r", locking=False) as copied:
        np.testing.assert_array_equal(copied["rows"], np.arange(100_000))


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"userblock_size": 512}], ids=["newer", "user block"])
def test_room_is_made_in_files_of_the_default_mode_only(tmp_path: Path, options: Any) -> None:
    path = tmp_path / "other.h5"
    h5py.File(path, "w", **options).close()
    before = path.read_bytes()
    descriptor = os.open(path, os.O_RDWR)
    with pytest.raises(OSError, match="does not begin as an HDF5 file of the default mode does"):
        make_room(descriptor, len(before))
    os.close(descriptor)
    assert path.read_bytes() == before


def test_what_hdf5_says_is_told_in_the_same_words_each_time(tmp_path: Path) -> None:
    path = tmp_path / "cut.h5"
    with h5py.File(path, "w") as file:
        file["rows"] = np.arange(1000)
    os.truncate(path, 4000)
    told = []
    for _ in range(2):
        with pytest.raises(OSError, match="truncated") as caught:
            h5py.File(path)
        assert not is_of_disk(caught.value)
        told.append(fault_of(caught.value))
    assert told[0] == told[1]
    assert "\n" not in told[0]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), OSError("… error message = 'No space left on device' …")]
)
def test_a_full_disk_is_no_damage(error: OSError) -> None:
    assert is_of_disk(error)
    assert "No space left on device" in fault_of(error)
