"""How far Redis has taken a run: what is asked after every doubt, and what of the pending steps is left to be sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import redis

from .. import protocol
from ..protocol import RawEntry, ScanState, StreamEnd
from .pipeline import execute
from .presence import Claim, RunAbandonedError, RunLostError, require_scan
from .steps import DocumentStep, RowsStep, SaveStep, Step


class Taken:
    """What Redis had of one run when it was asked."""

    def __init__(self, client: redis.Redis, claim: Claim, keys: Iterable[str]) -> None:
        """Ask about data streams by their keys. Raises redis.RedisError, RunAbandonedError, RunLostError."""
        self._uid = claim.uid
        keys = list(keys)
        scan = protocol.scan_key(claim.uid)
        documents, states = protocol.documents_key(claim.uid), protocol.stream_key(protocol.state_pk(claim.uid))
        commands: list[tuple[Any, ...]] = [("PTTL", scan), ("JSON.OBJKEYS", scan, "$.data_streams")]
        commands += [("XREVRANGE", key, "+", "-", "COUNT", 1) for key in (documents, states, *keys)]
        remaining, streams, *replies = execute(client, commands)
        require_scan(client, claim, remaining, ())
        document, state, *lasts = map(_entries, replies)
        self._ends = {key: StreamEnd.from_last(last) for key, last in zip(keys, lasts, strict=True)}
        self.rows = {key: end.rows for key, end in self._ends.items()}
        """Rows of each data stream that was asked about."""
        self.documents = int(document[0][0].split(b"-")[0]) + 1 if document else 0
        self.state = ScanState(int(state[0][1][b"state"])) if state else None
        self.streams = frozenset(name.decode() for name in _answer(streams)[0])
        """Names of the data streams that the scan's document has."""

    def require(self, rows: Mapping[str, int], documents: int, streams: frozenset[str]) -> None:
        """Raise RunLostError unless all is there that was acknowledged before."""
        short = next((key for key, count in rows.items() if self.rows[key] < count), None)
        if short is not None:
            raise RunLostError(
                f"Redis has lost rows of run {self._uid}: stream {short} had {rows[short]}, and has {self.rows[short]}"
            )
        if self.documents < documents or not streams <= self.streams:
            raise RunLostError(f"Redis has lost documents of run {self._uid}")

    def remaining(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps, or parts of them, that Redis has not taken. Raises RunAbandonedError, RunLostError."""
        for step in steps:
            match step:
                case DocumentStep() if step.entry.index >= self.documents:
                    yield step
                case SaveStep() if not self._is_saved(step):
                    yield step
                case RowsStep() if (rest := self._rest(step)) is not None:
                    yield rest

    def _rest(self, step: RowsStep) -> RowsStep | None:
        end = self._ends[step.key]
        entry = protocol.skip_rows(step.encoding, step.entry, end.rows)
        if entry is None:
            return None
        if end.sealed:
            raise RunAbandonedError(
                f"stream {step.key} has been sealed in Redis while row {entry.index} was to be written: somebody "
                "closed the scan, or published the run from elsewhere"
            )
        if entry.index > end.rows:
            raise RunLostError(f"Redis has lost rows of run {self._uid}: {step.key} ends before row {entry.index}")
        # the rows of one stream follow each other: the next step continues where this one ends
        self._ends[step.key] = StreamEnd(entry.index + entry.length)
        return RowsStep(step.key, step.encoding, entry)

    def _is_saved(self, step: SaveStep) -> bool:
        if not step.streams <= self.streams:
            return False
        if step.state is None or self.state is None:
            return step.state is None
        if step.state == self.state != ScanState.CLOSED:
            # the state that announces the newest streams may not have been given yet
            return step.streams < self.streams
        return step.state <= self.state


def _entries(reply: Any) -> list[RawEntry]:
    """An answer to XREVRANGE as redis-py gives it; `execute` leaves it as it came."""
    return protocol.raw_entries(_answer(reply))


def _answer(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply
