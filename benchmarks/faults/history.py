"""P3: the Hypothesis state machine. Each example is a history of runs, and of all that happens to them."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from blissdata_bluesky.journal import JournalDirectory
from blissdata_bluesky.publish import recover, replay
from blissdata_bluesky.writer import BlissdataWriter
from tests.system.tiled_runs import Document, Run, row

from .account import UNDESCRIBED, Account
from .journals import damage_marks, set_aside
from .stage import BATCHES, RESTARTS, SECONDS, Stage, cut_batches

KEYS = ("number", "integer", "text", "short", "ragged")
LATE_KEYS = ("number", "spectrum")
REQUESTS = [b"payload", b"_SCAN_HISTORY_", b"descriptor", b"JSON.SET", b"seal_stream", b"XREVRANGE", b"PTTL"]


@dataclass
class OpenRun:
    """A run that goes on, and the writers that it is given to."""

    run: Run
    accounts: dict[int, Account] = field(default_factory=dict)
    """By the number of the writer."""
    rows: Counter[str] = field(default_factory=Counter)


@dataclass
class Outcome:
    """What all histories together did."""

    examples: int = 0
    steps: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    difference: str = ""
    """The first one, and the steps that led to it: nothing is done afterwards."""


def step(function: Callable[..., None]) -> Callable[..., None]:
    """A rule. Hypothesis is not told of a difference: it would look for a shorter way, which depends on time."""

    @wraps(function)
    def run(self: History, **drawn: Any) -> None:
        if self.outcome.difference:
            return
        self.outcome.steps += 1
        self.told.append(f"{function.__name__}({drawn or ''})")
        try:
            function(self, **drawn)
        except Exception:  # noqa: BLE001 - whatever it is, it is not what was promised
            self.outcome.difference = "\n".join([*self.told, traceback.format_exc()])

    return run


class History(RuleBasedStateMachine):
    """Two writers on one directory, one Redis behind a proxy, and everything that may happen to them."""

    stage: ClassVar[Stage]
    outcome: ClassVar[Outcome]

    def __init__(self) -> None:
        super().__init__()
        self.stage.empty()
        self.outcome.examples += 1
        cut_batches(BATCHES[-1])
        self.told: list[str] = []
        self.journal = Path(tempfile.mkdtemp(prefix="once-"))
        self.accounts: dict[str, Account] = {}
        self.uids: list[str] = []
        self.open: OpenRun | None = None
        self.both_give = self.server_was_killed = False
        self.writers = [self._writer(), self._writer()]

    # Whose scan it is a writer asks only after a doubt. When one of two writers of the same run has published it anew to
    # an emptied Redis, the other one may go on with it until then. So either Redis is emptied, or runs are given to both.
    @initialize(both_give=st.booleans())
    def choose(self, both_give: bool) -> None:
        self.both_give = both_give

    @precondition(lambda self: self.open is None)
    @rule(givers=st.sampled_from([(0,), (1,), (0, 1)]), count=st.integers(0, 50))
    @step
    def begin(self, givers: tuple[int, ...], count: int) -> None:
        self.open = OpenRun(Run())
        self.uids.append(self.open.run.uid)
        for number in givers if self.both_give else givers[:1]:
            self.writers[number](*self.open.run.start)
            publisher = self.writers[number]._routes[self.open.run.uid].publisher
            account = Account(self.open.run.uid, ["start"])
            self.accounts[publisher] = self.open.accounts[number] = account
        self._describe("primary", KEYS)
        self._events(count)

    @precondition(lambda self: self.open)
    @rule(
        count=st.integers(1, 150),
        odd=st.sampled_from(["", "", "number", "integer", "short", UNDESCRIBED]),
        fault=st.sampled_from(["", "reply lost", "request cut"]),
        after=st.integers(0, 6000),
    )
    @step
    def give(self, count: int, odd: str, fault: str, after: int) -> None:
        self.stage.spoil(fault, b"payload", after)
        self._events(count, odd)

    @precondition(lambda self: self.open)
    @rule(count=st.integers(1, 50))
    @step
    def give_while_redis_is_full(self, count: int) -> None:
        with self.stage.full():
            self._events(count)
            # so long that it is sent, and refused
            time.sleep(0.05)
        self.outcome.faults["maxmemory"] += 1

    @precondition(lambda self: self.open)
    @rule(odd=st.sampled_from(["", "number", UNDESCRIBED]))
    @step
    def give_one(self, odd: str) -> None:
        self._event("primary", KEYS, odd)
        self._flush()

    @precondition(lambda self: self.open and len(self.open.rows) < 3)
    @rule(count=st.integers(0, 5))
    @step
    def give_late_stream(self, count: int) -> None:
        name = f"late{len(self.open.rows)}"
        self.open.rows[name] += 0
        self._describe(name, LATE_KEYS)
        for _ in range(count):
            self._event(name, LATE_KEYS, "")

    @precondition(lambda self: self.open)
    @rule()
    @step
    def stop(self) -> None:
        for account in self._give(self.open.run.stop()):
            account.documents.append("stop")
        self.open = None

    @precondition(lambda self: self.open)
    @rule()
    @step
    def flush(self) -> None:
        self._flush()

    @precondition(lambda self: self.open)
    @rule(
        fault=st.sampled_from(["reply lost", "request cut"]),
        containing=st.sampled_from(REQUESTS),
        after=st.integers(0, 6000),
    )
    @step
    def spoil_a_connection(self, fault: str, containing: bytes, after: int) -> None:
        self.stage.spoil(fault, containing, after)

    @rule(how=st.sampled_from(["FLUSHALL", *RESTARTS]))
    @step
    def disturb_redis(self, how: str) -> None:
        if self.both_give and how in {"FLUSHALL", "restart, empty"}:
            return
        if how == "FLUSHALL":
            self.stage.empty()
        else:
            self.stage.restart(how)
        self.server_was_killed |= how == "restart after SIGKILL"
        self.outcome.faults[how] += 1

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 1), by_recover=st.booleans(), marks=st.sampled_from(["kept", "torn", "removed"]))
    @step
    def kill_a_writer(self, number: int, by_recover: bool, marks: str) -> None:
        self._end(self.writers[number])
        damage_marks(self.journal, marks)
        if by_recover:
            recover(self.journal, self.stage.proxy.url, SECONDS)
        self.writers[number] = self._writer()
        if self.open and self.open.accounts.pop(number, None) and not self.open.accounts:
            self.open = None
        self.outcome.faults["writer killed"] += 1

    @precondition(lambda self: self.open)
    @rule(batch=st.sampled_from(BATCHES))
    @step
    def cut_batches_otherwise(self, batch: int) -> None:
        cut_batches(batch)

    @rule(number=st.integers(0, 9))
    @step
    def replay_a_journal(self, number: int) -> None:
        # which ones there are depends on time, what is drawn must not
        if paths := set_aside(self.journal):
            self._replay(paths[number % len(paths)])
            self.outcome.faults["replay"] += 1

    def teardown(self) -> None:
        if self.open:
            self.stop()
        self.compare()
        for writer in self.writers:
            self._end(writer)
        shutil.rmtree(self.journal, ignore_errors=True)

    @step
    def compare(self) -> None:
        self._flush()
        for writer in self.writers:
            self._end(writer)
        recover(self.journal, self.stage.proxy.url, SECONDS)
        for uid in self.uids:
            self._compare(uid)

    def _compare(self, uid: str) -> None:
        for path in set_aside(self.journal, uid):
            if self._lost_after_its_end(uid):
                self._replay(path)
        publisher = self.stage.publisher(uid)
        assert publisher is not None, f"run {uid} is not in Redis: {JournalDirectory(self.journal).paths()}"
        account = self.accounts[publisher]
        differences = account.differences(self.stage.server.url)
        journals = [path.name for path in JournalDirectory(self.journal).paths()]
        assert not differences, f"run {uid} of {publisher}: {'; '.join(differences)}; journals: {journals}"
        self.outcome.rows += sum(map(len, account.rows.values()))

    def _lost_after_its_end(self, uid: str) -> bool:
        """Whether Redis has lost a run that it had acknowledged whole: that comes again only when somebody asks."""
        if self.stage.publisher(uid) is None:
            return True
        # its log is not on the disk with each reply
        return self.server_was_killed and not self.stage.is_closed(uid)

    def _replay(self, path: Path) -> None:
        assert replay(path, self.stage.proxy.url, SECONDS), f"{path.name} has not been published again"

    def _writer(self) -> BlissdataWriter:
        return BlissdataWriter(self.stage.proxy.url, journal=self.journal, fsync="never")

    def _flush(self) -> None:
        for writer in self.writers:
            writer.flush(SECONDS)

    def _end(self, writer: BlissdataWriter) -> None:
        """End it as if it were killed: nothing is flushed, its journals are nobody's as soon as its thread has ended."""
        writer.close(0)
        if writer._publisher._thread is not None:
            writer._publisher._thread.join(SECONDS)

    def _events(self, count: int, odd: str = "") -> None:
        for index in range(count):
            self._event("primary", KEYS, odd if index % 5 == 3 else "")

    def _describe(self, name: str, keys: tuple[str, ...]) -> None:
        for account in self._give(self.open.run.describe(name, keys)):
            account.descriptor()

    def _event(self, stream: str, keys: tuple[str, ...], odd: str) -> None:
        index = self.open.rows[stream]
        self.open.rows[stream] += 1
        values = row(index, keys) | ({odd: f"odd {index}"} if odd else {})
        event = self.open.run.event(values, stream)
        for account in self._give(event):
            account.event(stream, event[1], odd)

    def _give(self, document: Document) -> Iterator[Account]:
        for number, account in self.open.accounts.items():
            self.writers[number](*document)
            yield account
