"""The contract of every source of runs: from the archive, and joined in every phase of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from benchmarks.faults.bench import disk_full
from blissdata_bluesky.archive import ArchivedFile
from blissdata_bluesky.errors import RunUnavailableError
from blissdata_bluesky.runs import ArchivedRuns, JoinedRuns, Run

from .archive_site import Site, joined_runs, open_site
from .damaging import damage, ends
from .emitted import Named
from .run_contract import Publish, RunContract

# nothing of what is read is kept, so that every read goes where the rows are
NO_CACHE = 0


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(redis_url, tmp_path) as site:
        yield site


class TestArchived(RunContract):
    """Files alone, written after the fact."""

    @pytest.fixture
    def source(self, site: Site) -> Iterator[ArchivedRuns]:
        with ArchivedRuns(site.root) as runs:
            yield runs

    @pytest.fixture
    def publish(self, site: Site) -> Publish:
        def publish(documents: Iterable[Named]) -> None:
            site.give(documents)
            site.wipe()
            site.archive()

        return publish


class Joined(RunContract):
    """`publish` brings a run into the phase while somebody, `held`, holds it since its start."""

    @pytest.fixture
    def source(self, site: Site) -> Iterator[JoinedRuns]:
        with joined_runs(site, cache_bytes=NO_CACHE) as runs:
            yield runs

    @pytest.fixture
    def publish(self, site: Site, source: JoinedRuns) -> Publish:
        def publish(documents: Iterable[Named]) -> None:
            documents = list(documents)
            site.give(documents[:1])
            held = source.get(documents[0][1]["uid"])
            self.bring(site, held, documents)
            assert source.get(held.uid) is held

        return publish

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        """Publish the rest of the documents, and bring the run into the phase."""
        raise NotImplementedError


def give_watched(site: Site, held: Run, documents: list[Named]) -> None:
    """Publish documents one by one, while the run is read."""
    rows: dict[str, int] = {}
    for named in documents:
        site.give([named])
        held.refresh()
        for name, stream in held.streams.items():
            assert stream.rows() >= rows.get(name, 0)
            rows[name] = stream.rows()
            assert len(stream.table(start=max(0, rows[name] - 1))) == min(1, rows[name])


class TestLive(Joined):
    """In Redis alone: the archiver is away."""

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        give_watched(site, held, documents[1:])
        assert list(site.root.rglob("*.h5")) == []


class TestHalfTrimmed(Joined):
    """The file grows; of every column the memory tracker has removed other rows."""

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        middle = 2 * len(documents) // 3
        give_watched(site, held, documents[1:middle])
        site.archive()
        give_watched(site, held, documents[middle:])
        columns = site.columns(held.uid)
        on_disk = ArchivedFile(site.file(held.uid)).rows(list(columns))
        for place, (key, rows) in enumerate(zip(columns.values(), on_disk, strict=True)):
            site.trim(key, max(0, rows - place % 3))


class TestClosed(Joined):
    """Complete in the file, and still in Redis."""

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        give_watched(site, held, documents[1:])
        site.archive()


class TestExpired(Joined):
    """Complete in the file, and expired from Redis while it was held."""

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        give_watched(site, held, documents[1:])
        site.archive()
        columns = site.columns(held.uid).values()
        site.expire(held.uid)
        assert not any(map(site.client.exists, columns))


class TestWiped(Joined):
    """Redis was wiped after the close, when the archiver had all rows but did not know that the run had ended."""

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        give_watched(site, held, documents[1:-1])
        site.archive()
        give_watched(site, held, documents[-1:])
        site.wipe()


class TestWipedTooEarly(Joined):
    """Redis was wiped after the close, when the archiver had a half; then it has caught up."""

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        middle = 1 + len(documents) // 2
        give_watched(site, held, documents[1:middle])
        site.archive()
        give_watched(site, held, documents[middle:])
        rows = {name: stream.rows() for name, stream in held.streams.items()}
        site.wipe()
        held.refresh()
        assert held.closed
        file = ArchivedFile(site.file(held.uid))
        for name, stream in held.streams.items():
            (there,) = file.rows([f"{name}:time"]) if "/" not in name else [rows[name]]
            assert stream.rows() == rows[name]
            if there < rows[name]:
                with pytest.raises(RunUnavailableError, match="archiver has not written them yet"):
                    stream.time()
        site.archive()


class TestDamagedJournal(Joined):
    """The journal was damaged in the middle before it was archived; Redis has all of the run."""

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        give_watched(site, held, documents[1:])
        (journal,) = site.journal.glob("*.finished-journal")
        damage(journal, max(1, (len(ends(journal)) - 1) // 2))
        site.archive()
        assert_file_is_not_whole(site, held)


class TestJournalDiskFull(Joined):
    """The disk of the journal was full from the middle of the run on; Redis has all of it."""

    def bring(self, site: Site, held: Run, documents: list[Named]) -> None:
        middle = len(documents) // 2
        give_watched(site, held, documents[1:middle])
        with disk_full():
            give_watched(site, held, documents[middle:])
        site.archive()
        assert_file_is_not_whole(site, held)


def assert_file_is_not_whole(site: Site, held: Run) -> None:
    file = ArchivedFile(site.file(held.uid)).look()
    assert file.complete
    assert "journal" in file.incomplete
    assert "stop" not in {entry.name for entry in file.entries}
    held.refresh()
    assert (held.closed, held.incomplete) == (True, "")


class TestArchivedOnly(RunContract):
    """Nobody held it when it was in Redis."""

    @pytest.fixture
    def source(self, site: Site) -> Iterator[JoinedRuns]:
        with joined_runs(site) as runs:
            yield runs

    @pytest.fixture
    def publish(self, site: Site) -> Publish:
        def publish(documents: Iterable[Named]) -> None:
            site.give(documents)
            site.archive()
            site.wipe()

        return publish
