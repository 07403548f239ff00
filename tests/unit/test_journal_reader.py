"""Looking into journals without owning them."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ormsgpack
import pytest

from blissdata_bluesky.errors import JournalError
from blissdata_bluesky.journal import Header, JournalDirectory, JournalReader, RunJournal
from blissdata_bluesky.journal.records import frame

NOBODY = 65534


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[RunJournal]:
    journal = JournalDirectory(tmp_path).create(Header("run", "me", "redis://host", {"name": "count"}))
    assert journal is not None
    yield journal
    journal.close()


def test_it_reads_on_while_the_owner_writes(journal: RunJournal) -> None:
    with JournalReader(journal.path) as reader:
        assert list(reader.records(reader.begin)) == []
        journal.append(b"one")
        [(offset, payload)] = reader.records(reader.begin)
        journal.append(b"two")
        assert payload == b"one"
        assert [payload for _, payload in reader.records(offset)] == [b"two"]
        assert reader.whole() == reader.size == journal.size


def test_it_shows_the_header_first(journal: RunJournal) -> None:
    with JournalReader(journal.path) as reader:
        assert reader.header == journal.header
        [(offset, payload)] = reader.records()
        assert offset == reader.begin and Header.unpack(payload, reader.path) == journal.header


def test_it_tells_whether_a_process_owns_the_journal(journal: RunJournal) -> None:
    with JournalReader(journal.path) as reader:
        assert reader.owned
        journal.close()
        assert not reader.owned
        RunJournal.adopt(journal.path).close()


def test_looking_takes_nothing_from_the_owner(journal: RunJournal) -> None:
    with JournalReader(journal.path) as one, JournalReader(journal.path) as other:
        assert one.owned and other.owned
    assert journal.append(b"one")
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600


def test_it_tells_when_the_journal_was_written_last(journal: RunJournal) -> None:
    with JournalReader(journal.path) as reader:
        os.utime(journal.path, (0, 1000.0))
        assert reader.modified == 1000.0
        journal.append(b"one")
        assert abs(time.time() - reader.modified) < 60


def test_a_journal_that_is_removed_is_read_to_its_end(journal: RunJournal) -> None:
    journal.append(b"one")
    with JournalReader(journal.path) as reader:
        journal.path.unlink()
        assert [payload for _, payload in reader.records(reader.begin)] == [b"one"]


def test_what_is_closed_is_not_read(journal: RunJournal) -> None:
    reader = JournalReader(journal.path)
    reader.close()
    with pytest.raises(JournalError, match="cannot be read"):
        list(reader.records())


def record(payload: bytes) -> bytes:
    return frame(payload) + payload


NOT_JOURNALS = {
    "empty": b"",
    "text": b"# a list of things to do\n" * 100,
    "zeros": bytes(10_000),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(1000),
    "half a frame": frame(b"x")[:7],
    "no header": record(b"x"),
    "no mapping": record(ormsgpack.packb([1, 2])),
    "unknown members": record(ormsgpack.packb({"format": 1, "what": 2})),
}


@pytest.mark.parametrize("content", NOT_JOURNALS.values(), ids=NOT_JOURNALS)
@pytest.mark.parametrize("look", [JournalReader, RunJournal.adopt])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, look: type[JournalReader], content: bytes) -> None:
    path = tmp_path / "odd.journal"
    path.write_bytes(content)
    files = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(JournalError, match=r"odd\.journal does not begin with a journal's header: move it away"):
        look(path)
    assert path.read_bytes() == content, "it may be somebody's"
    assert len(list(Path("/proc/self/fd").iterdir())) == files


@pytest.mark.parametrize("look", [JournalReader, RunJournal.adopt])
def test_a_newer_format_is_refused_with_a_remedy(tmp_path: Path, look: type[JournalReader]) -> None:
    header = ormsgpack.packb({"format": 99, "anything": "else"})
    path = tmp_path / "newer.journal"
    path.write_bytes(record(header))
    with pytest.raises(JournalError, match=r"newer\.journal has format 99, this version reads up to 3"):
        look(path)


@pytest.mark.parametrize("look", [JournalReader, RunJournal.adopt])
def test_what_is_no_file_is_refused(tmp_path: Path, look: type[JournalReader]) -> None:
    (tmp_path / "directory.journal").mkdir()
    (tmp_path / "dangling.journal").symlink_to(tmp_path / "nowhere")
    for name in ("directory", "dangling", "missing"):
        with pytest.raises(JournalError, match=f"{name}.journal cannot be"):
            look(tmp_path / f"{name}.journal")


@pytest.mark.parametrize("look", [JournalReader, RunJournal.adopt])
def test_a_journal_that_may_not_be_read_is_refused(look: type[JournalReader]) -> None:
    # below pytest's own directories nobody else may look
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        journal = JournalDirectory(directory).create(Header("run", "me", "redis://host"))
        assert journal is not None
        journal.close()
        journal.path.chmod(0)
        directory.chmod(0o755)
        user = os.geteuid()
        try:
            if user == 0:
                os.seteuid(NOBODY)
            with pytest.raises(JournalError, match=r"\.journal cannot be opened: Permission denied"):
                look(journal.path)
        finally:
            os.seteuid(user)
