"""The steps of one run, sent to Redis exactly once."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import redis
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError

from .. import protocol
from ..errors import BlissdataBlueskyError
from ..protocol import DocumentEntry, RawEntry, ScanState, StreamEnd
from .pipeline import execute
from .steps import DocumentStep, RowsStep, SaveStep, Step

logger = logging.getLogger(__name__)

# Nobody else expires the documents of a scan.
_DOCUMENTS_SECONDS = 30 * 86400
# Redis holds a pipeline's replies in memory, and we its commands.
_PIPELINE_BYTES = 8 * 2**20
_PIPELINE_COMMANDS = 20_000
# blissdata loads a scan's document first and its state, later, with a second command. A state that comes with new
# streams must not fall between the two: the reader would take the old document for the new one until the next state.
_LOAD_SECONDS = 0.01


# server states that end; anything else that Redis answers is about what it was given
_MENDED_BY_WAITING = (OutOfMemoryError, ReadOnlyError, NoPermissionError)
_MENDED_PREFIXES = ("OOM", "MISCONF", "NOREPLICAS", "BUSY", "LOADING", "MASTERDOWN", "NOAUTH", "TRYAGAIN", "UNKILLABLE")
_MENDED_TEXTS = ("equal or smaller", "unknown command", "Function not found")


class RunAbandonedError(BlissdataBlueskyError, RuntimeError):
    """Redis will not take this run any further; its journal has it."""


class RunSender:
    """Pending steps of one run. `send` may be called again after any failure, whatever Redis had taken by then."""

    def __init__(self, uid: str, publisher: str) -> None:
        self._uid = uid
        self._publisher = publisher
        self._scan_key = protocol.scan_key(uid)
        self._state_key = protocol.stream_key(protocol.state_pk(uid))
        self._documents_key = protocol.documents_key(uid)
        self._steps: deque[Step] = deque()
        self._doubtful = False
        self._refused = False
        self._state: ScanState | None = None
        self._declared_at = 0.0

    def add(self, steps: Iterable[Step]) -> None:
        """Append steps; nothing is sent."""
        self._steps.extend(steps)

    @property
    def pending(self) -> bool:
        """Whether steps are not acknowledged yet."""
        return bool(self._steps)

    def send(self, client: redis.Redis) -> None:
        """Send all pending steps and wait for the replies.

        Raises redis.RedisError when it is worth trying again later, RunAbandonedError when it is not.
        """
        try:
            self._send(client)
        except redis.ResponseError as error:
            if _may_be_mended(error):
                raise
            raise RunAbandonedError(f"Redis refuses it: {error}") from error

    def _send(self, client: redis.Redis) -> None:
        while self._steps:
            if self._doubtful:
                self._resume(client)
                continue
            self._doubtful = True
            step = self._steps[0]
            if isinstance(step, SaveStep):
                self._save(client, step)
                self._steps.popleft()
            else:
                self._append(client)
            self._doubtful = False

    def _append(self, client: redis.Redis) -> None:
        steps = self._next_appends()
        commands = [("PTTL", self._scan_key), *(("XADD", *self._xadd(step)) for step in steps)]
        remaining, *replies = execute(client, commands)
        self._require_scan(client, remaining, steps)
        self._check(replies)
        for _ in steps:
            self._steps.popleft()

    def _next_appends(self) -> list[RowsStep | DocumentStep]:
        steps: list[RowsStep | DocumentStep] = []
        size = 0
        for step in self._steps:
            if isinstance(step, SaveStep) or size > _PIPELINE_BYTES or len(steps) >= _PIPELINE_COMMANDS:
                break
            steps.append(step)
            size += step.size
        return steps

    def _xadd(self, step: RowsStep | DocumentStep) -> list[Any]:
        key = step.key if isinstance(step, RowsStep) else self._documents_key
        arguments: list[Any] = [key, step.entry.id]
        for field, value in step.entry.fields.items():
            arguments += (field, value)
        return arguments

    def _check(self, replies: Sequence[Any]) -> None:
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if errors and all("equal or smaller" in str(error) for error in errors) and self._refused:
            raise RunAbandonedError(
                f"run {self._uid}: another process writes the same streams; this one stops. Publish a run from one "
                "place only"
            )
        self._refused = bool(errors)
        if errors:
            raise errors[0]

    def _require_scan(self, client: redis.Redis, remaining: Any, steps: Iterable[Step] = ()) -> None:
        """`remaining`: milliseconds until the scan expires (-1 never, -2 gone)."""
        if isinstance(remaining, Exception):
            raise remaining
        if remaining == -1 or remaining > protocol.DELETED_TTL * 1000:
            return
        self._deleted(client, {step.key for step in steps if isinstance(step, RowsStep)})

    def _deleted(self, client: redis.Redis, written: Iterable[str]) -> NoReturn:
        # what has just been written would stay for ever, and blissdata knows nothing of the documents
        client.unlink(*written, self._documents_key)
        raise RunAbandonedError(
            f"run {self._uid}: its scan {self._scan_key} has been deleted from Redis, or Redis has been emptied; "
            "publishing of this run stops and the journal is kept"
        )

    def _save(self, client: redis.Redis, step: SaveStep) -> None:
        if step.creates:
            self._create(client, step)
            return
        self._require_scan(client, client.pttl(self._scan_key))
        if step.seal:
            self._seal(client, step.seal)
        announced = step.state is not None and (self._state is None or step.state >= self._state)
        if announced:
            time.sleep(max(0.0, self._declared_at + _LOAD_SECONDS - time.monotonic()))
        with client.pipeline(transaction=True) as pipe:
            pipe.execute_command("JSON.SET", self._scan_key, "$", step.model, "XX")
            if announced:
                pipe.xadd(self._state_key, {"state": int(step.state)}, nomkstream=True)  # type: ignore[arg-type]
            if step.state == ScanState.CLOSED:
                pipe.expire(self._documents_key, _DOCUMENTS_SECONDS)
            saved, *_ = pipe.execute()
        if saved is None:
            self._deleted(client, step.seal)
        self._state = step.state if announced else self._state
        if step.state is None:
            self._declared_at = time.monotonic()

    def _create(self, client: redis.Redis, step: SaveStep) -> None:
        """Scan, history entry, first state and first document appear at once; found again, they must be ours."""
        first = self._steps[1]
        if not isinstance(first, DocumentStep):
            raise TypeError("a scan is created together with its start document")
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(self._scan_key)
            if not pipe.exists(protocol.PROTOCOL_KEY):
                raise redis.ConnectionError("the database has been emptied")
            if pipe.exists(self._scan_key):
                pipe.unwatch()
                self._require_ours(client)
            else:
                pipe.multi()
                # those of a scan that was deleted or has expired
                pipe.delete(self._documents_key)
                pipe.execute_command("JSON.SET", self._scan_key, "$", step.model)
                pipe.xadd(protocol.HISTORY_KEY, {"key": self._scan_key}, maxlen=protocol.HISTORY_LENGTH)
                pipe.xadd(self._state_key, {"state": int(ScanState.CREATED)})
                pipe.execute_command("XADD", *self._xadd(first))
                pipe.execute()
        del self._steps[1]

    def _require_ours(self, client: redis.Redis) -> None:
        raw = client.xrange(self._documents_key, count=1)
        publisher = DocumentEntry.parse(raw[0]).publisher if raw else None
        if publisher != self._publisher:
            raise RunAbandonedError(
                f"run {self._uid}: a scan with this uid is in Redis already and belongs to publisher {publisher}; "
                "nothing of this one is published. Give every run a uid of its own, or delete that scan first"
            )

    def _seal(self, client: redis.Redis, keys: Sequence[str]) -> None:
        replies = execute(client, [("FCALL", protocol.SEAL_FUNCTION, 1, key) for key in keys])
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if unexpected := [error for error in errors if "already sealed" not in str(error)]:
            raise unexpected[0]

    def _resume(self, client: redis.Redis) -> None:
        """Ask how far Redis has got, and forget the steps that it has taken."""
        if isinstance(self._steps[0], SaveStep) and self._steps[0].creates:
            self._doubtful = False
            return
        rows = [step for step in self._steps if isinstance(step, RowsStep)]
        keys = list(dict.fromkeys(step.key for step in rows))
        commands: list[tuple[Any, ...]] = [("PTTL", self._scan_key)]
        commands += [("XREVRANGE", key, "+", "-", "COUNT", 1) for key in (*keys, self._documents_key, self._state_key)]
        remaining, *replies = execute(client, commands)
        self._require_scan(client, remaining)
        *lasts, document, state = map(_entries, replies)
        ends = {key: StreamEnd.from_last(last) for key, last in zip(keys, lasts, strict=True)}
        documents = int(document[0][0].split(b"-")[0]) + 1 if document else 0
        self._state = ScanState(int(state[0][1][b"state"])) if state else None
        self._steps = deque(
            step for pending in self._steps if (step := self._remaining(pending, ends, documents)) is not None
        )
        self._doubtful = False

    def _remaining(self, step: Step, ends: dict[str, StreamEnd], documents: int) -> Step | None:
        match step:
            case DocumentStep():
                return step if step.entry.index >= documents else None
            case RowsStep():
                end = ends[step.key]
                entry = protocol.skip_rows(step.encoding, step.entry, end.rows)
                if entry is None:
                    return None
                self._require_continuous(step, end)
                # the rows of one stream follow each other: the next step continues where this one ends
                ends[step.key] = StreamEnd(entry.index + entry.length)
                return RowsStep(step.key, step.encoding, entry)
        return step

    def _require_continuous(self, step: RowsStep, end: StreamEnd) -> None:
        if end.sealed or step.entry.index > end.rows:
            happened = "has been sealed" if end.sealed else f"has lost rows from {end.rows} on"
            raise RunAbandonedError(
                f"run {self._uid}: stream {step.key} {happened} in Redis while row {step.entry.index} was to be "
                "written; publishing of this run stops and the journal is kept"
            )


def _entries(reply: Any) -> list[RawEntry]:
    """An answer to XREVRANGE as redis-py gives it; `execute` leaves it as it came."""
    if isinstance(reply, Exception):
        raise reply
    return protocol.raw_entries(reply)


def _may_be_mended(error: redis.ResponseError) -> bool:
    text = str(error)
    known = isinstance(error, _MENDED_BY_WAITING) or text.startswith(_MENDED_PREFIXES)
    return known or any(part in text for part in _MENDED_TEXTS)
