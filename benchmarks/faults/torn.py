"""P8: a journal that is cut or damaged anywhere loads up to the last whole record, and says what it left out."""

from __future__ import annotations

import logging
import random
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from blissdata import ScanState

from blissdata_bluesky.connection import target
from blissdata_bluesky.errors import JournalError
from blissdata_bluesky.journal import Header, JournalDirectory, JournalReader, RunJournal
from blissdata_bluesky.packing import pack_document
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.publish import identity_from_start, recover
from blissdata_bluesky.publish.replay import Replay
from blissdata_bluesky.server import RedisServer
from tests.system.collected import Collector, assert_equal, columns, load
from tests.system.tiled_runs import Document, Run

from .figure import Figure

KEYS = ("integer", "text", "short")
SECONDS = 60.0


@dataclass
class Sample:
    """The journal of a whole run, as bytes."""

    uid: str
    name: str
    documents: list[Document]
    content: bytes
    ends: list[int]
    """Where the records end, the header first."""
    marks: bytes

    def whole_records(self, damaged_from: int) -> int:
        """Records, the header included, that end at or before this byte."""
        return sum(end <= damaged_from for end in self.ends)

    def payloads(self, records: int) -> list[bytes]:
        """The documents among the first so many records, packed."""
        return [pack_document(*document) for document in self.documents[: max(0, records - 1)]]


@dataclass
class Outcome:
    """Of all damaged journals together."""

    cases: int = 0
    crashes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Journals that gave too much, too little, or the wrong number of bytes left out."""

    @property
    def found(self) -> str:
        return f"crashes {len(self.crashes)}, wrong {len(self.wrong)}"

    @property
    def kept(self) -> bool:
        return not self.crashes and not self.wrong


def sample(directory: Path, redis_url: str = "redis://host", rows: int = 4) -> Sample:
    """Write a run with scalars, strings and arrays, and a mark after each second document."""
    run = Run(uid=str(uuid.uuid4()))
    documents = list(run.whole(rows, KEYS))
    header = Header(run.uid, uuid.uuid4().hex, target(redis_url), identity_from_start(run.start[1]))
    journal = JournalDirectory(directory).create(header)
    if journal is None or journal.marks is None:
        raise JournalError(f"no journal can be made in {directory}")
    ends = [journal.begin]
    for count, document in enumerate(documents):
        journal.append(pack_document(*document))
        ends.append(journal.size)
        if count % 2:
            journal.marks.add(journal.size)
    journal.close()
    marks = journal.path.with_suffix(".marks")
    return Sample(run.uid, journal.path.name, documents, journal.path.read_bytes(), ends, marks.read_bytes())


def check_damage(whole: Sample, directory: Path, content: bytes, damaged_from: int, outcome: Outcome) -> None:
    """Read one damaged journal in every way that there is; nothing but JournalError may come of it."""
    path = directory / "damaged.journal"
    path.write_bytes(content)
    records = whole.whole_records(damaged_from)
    end = whole.ends[records - 1] if records else 0
    expected = (whole.payloads(records), end, len(content) - end) if records else None
    outcome.cases += 1
    for read in (_by_reader, _by_owner):
        try:
            found = read(path)
        except JournalError:
            found = None
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            outcome.crashes.append(f"{read.__name__}, damaged from byte {damaged_from}: {error!r}")
            continue
        if found != expected:
            outcome.wrong.append(f"{read.__name__}, damaged from byte {damaged_from}")


def _by_reader(path: Path) -> tuple[list[bytes], int, int]:
    with JournalReader(path) as reader:
        payloads = [payload for _, payload in reader.records(reader.begin)]
        return payloads, reader.whole(), reader.size - reader.whole()


def _by_owner(path: Path) -> tuple[list[bytes], int, int]:
    journal = RunJournal.adopt(path)
    try:
        return [payload for _, payload in journal.records(journal.begin)], journal.size, journal.excess
    finally:
        journal.close()


def check_marks(whole: Sample, directory: Path, marks: bytes, outcome: Outcome) -> None:
    """Publish a whole journal in the batches that damaged marks tell: every document comes once, in order."""
    path = directory / "marked.journal"
    path.write_bytes(whole.content)
    path.with_suffix(".marks").write_bytes(marks)
    outcome.cases += 1
    try:
        found = replayed(path)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        outcome.crashes.append(f"marks {marks!r}: {error!r}")
        return
    if found != whole.payloads(len(whole.ends)):
        outcome.wrong.append(f"marks {marks!r}: {len(found)} documents")


def replayed(path: Path) -> list[bytes]:
    """All documents of a journal, as `Replay` gives them to the publisher."""
    journal = RunJournal.adopt(path)
    try:
        replay, found = Replay(journal), list[bytes]()
        while replay.offset < journal.size:
            for batch, _ in replay.batches(journal.size):
                found += [pack_document(*document) for document in batch]
        return found
    finally:
        journal.close()


def cut_everywhere() -> Outcome:
    """The journal, and its marks, cut at every byte."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="torn-") as name:
        directory = Path(name)
        whole = sample(directory)
        for size in range(len(whole.content) + 1):
            check_damage(whole, directory, whole.content[:size], size, outcome)
        for size in range(len(whole.marks) + 1):
            check_marks(whole, directory, whole.marks[:size], outcome)
    return outcome


def flip_anywhere(cases: int, seed: int = 0) -> Outcome:
    """One to four random bytes changed in the journal, and in its marks."""
    outcome, chance = Outcome(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="torn-") as name:
        directory = Path(name)
        whole = sample(directory)
        for _ in range(cases):
            content, first = _flipped(whole.content, chance)
            check_damage(whole, directory, content, first, outcome)
            check_marks(whole, directory, _flipped(whole.marks, chance)[0], outcome)
    return outcome


def _flipped(content: bytes, chance: random.Random) -> tuple[bytes, int]:
    """Changed bytes, and where the first change is."""
    changed = bytearray(content)
    places = chance.sample(range(len(content)), chance.randint(1, 4))
    for place in places:
        changed[place] ^= chance.randint(1, 255)
    return bytes(changed), min(places)


def recover_cuts(redis_url: str, cuts: int, seed: int = 0) -> Outcome:
    """The whole recovery of journals that were cut: the rows before the cut, FAILURE, and the log says what is left out."""
    outcome, chance = Outcome(), random.Random(seed)
    for _ in range(cuts):
        with tempfile.TemporaryDirectory(prefix="torn-") as name:
            whole = sample(Path(name), redis_url, rows=8)
            size = chance.randint(0, len(whole.content))
            (Path(name) / whole.name).write_bytes(whole.content[:size])
            check_recovery(whole, Path(name), redis_url, size, outcome)
    return outcome


def check_recovery(whole: Sample, directory: Path, redis_url: str, damaged_from: int, outcome: Outcome) -> None:
    """Recover one journal that is damaged from this byte on."""
    outcome.cases += 1
    records = whole.whole_records(damaged_from)
    left_out = (directory / whole.name).stat().st_size - (whole.ends[records - 1] if records else 0)
    with _log() as messages:
        recover(directory, redis_url, SECONDS)
    told = f"the {left_out} bytes after it are torn or damaged" if records else "cannot be recovered"
    if (left_out and told not in "".join(messages)) or (not left_out and "torn" in "".join(messages)):
        outcome.wrong.append(f"damaged from byte {damaged_from}: the log says {messages}")
    try:
        _assert_recovered(whole, redis_url, records - 1)
    except AssertionError as error:
        outcome.wrong.append(f"damaged from byte {damaged_from}: {error}")


def _assert_recovered(whole: Sample, redis_url: str, documents: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.exists(scan_key(whole.uid)) == (documents > 0), "there is a scan as soon as there is a start"
    if documents < 1:
        return
    collector = Collector()
    for document in whole.documents[:documents]:
        collector(*document)
    scan = load(redis_url, whole.uid)
    assert_equal(columns(scan), collector.streams(whole.uid))
    assert scan.state == ScanState.CLOSED
    assert scan.info["end_reason"] == ("SUCCESS" if documents == len(whole.documents) else "FAILURE")


@contextmanager
def _log() -> Iterator[list[str]]:
    """What the package logs meanwhile."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    package = logging.getLogger("blissdata_bluesky")
    package.addHandler(handler)
    try:
        yield messages
    finally:
        package.removeHandler(handler)


def figures(short: bool) -> list[Figure]:
    cut, flipped = cut_everywhere(), flip_anywhere(300 if short else 20_000)
    with RedisServer() as server:
        recovered = recover_cuts(server.url, 8 if short else 150)
    aim = "crashes 0, wrong 0"
    return [
        Figure("P8", f"{cut.cases} journals and marks cut at every byte", cut.found, aim, cut.kept),
        Figure("P8", f"{flipped.cases} journals and marks with changed bytes", flipped.found, aim, flipped.kept),
        Figure("P8", f"{recovered.cases} cut journals recovered into Redis", recovered.found, aim, recovered.kept),
    ]
