"""The steps of one run, sent to Redis exactly once."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError

from .. import protocol
from ..protocol import ScanState
from .pipeline import execute_at_once, seal
from .presence import (
    Claim,
    RunAbandonedError,
    RunLostError,
    gone,
    require_not_deleted,
    require_ours,
    require_scan,
)
from .room import Room
from .steps import DocumentStep, RowsStep, SaveStep, Step
from .taken import Taken

# Redis holds a pipeline's replies in memory, and we its commands.
_PIPELINE_BYTES = 8 * 2**20
_PIPELINE_COMMANDS = 20_000
# blissdata loads a scan's document first and its state, later, with a second command. A state that comes with new
# streams must not fall between the two: the reader would take the old document for the new one until the next state.
_LOAD_SECONDS = 0.01


# server states that end; anything else that Redis answers is about what it was given
_MENDED_BY_WAITING = (OutOfMemoryError, ReadOnlyError, NoPermissionError)
_REFUSED = re.compile("equal or smaller|exhausted the last possible ID")
_MENDED_CODES = "OOM|MISCONF|NOREPLICAS|BUSY|LOADING|MASTERDOWN|NOAUTH|NOPERM|READONLY|TRYAGAIN|UNKILLABLE"
# a transaction tells in its own words why it was not carried out
_MENDED = re.compile(rf"\b({_MENDED_CODES})\b|unknown command|Function not found|EXEC without MULTI|ACL failure")


class RunSender:
    """Pending steps of one run. `send` may be called again after any failure, whatever Redis had taken by then."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._scan_key = protocol.scan_key(claim.uid)
        self._state_key = protocol.stream_key(protocol.state_pk(claim.uid))
        self._documents_key = protocol.documents_key(claim.uid)
        self._steps: deque[Step] = deque()
        self._room = Room()
        self._doubtful = False
        self._refused = False
        self._state: ScanState | None = None
        self._streams: frozenset[str] = frozenset()
        self._rows: dict[str, int] = {}
        self._documents = 0
        self._declared_at = 0.0
        self.sent = False
        """Whether Redis lacked something."""
        self.may_be_deleted = False
        """Whether a scan that has to be created may have been there before, and was deleted."""

    def add(self, steps: Iterable[Step], *, doubtful: bool = False) -> None:
        """Append steps; nothing is sent. `doubtful`: they may have been sent before, by whomever."""
        self._steps.extend(steps)
        self._doubtful = self._doubtful or doubtful

    @property
    def pending(self) -> bool:
        """Whether steps are not acknowledged yet."""
        return bool(self._steps)

    def send(self, client: redis.Redis) -> None:
        """Send all pending steps and wait for the replies.

        Raises redis.RedisError when it is worth trying again later, RunAbandonedError when it is not, RunLostError
        when it is worth beginning again from the first step.
        """
        try:
            self._send(client)
        except redis.ResponseError as error:
            if _may_be_mended(error):
                raise
            raise RunAbandonedError(f"Redis refuses it: {error}") from error

    def check(self, client: redis.Redis) -> None:
        """Ask between two documents whether Redis still has what it acknowledged. Raises what `send` raises."""
        Taken(client, self._claim, self._rows).require(self._rows, self._documents, self._streams)

    def _send(self, client: redis.Redis) -> None:
        while self._steps:
            if self._doubtful:
                self._resume(client)
                continue
            self._doubtful = True
            step = self._steps[0]
            found = False
            self.sent = self.sent or not (isinstance(step, SaveStep) and step.creates)
            if isinstance(step, SaveStep) and step.creates:
                found = self._create(client, step)
                self._steps.popleft()
            elif isinstance(step, SaveStep):
                self._save(client, step)
                self._steps.popleft()
            else:
                found = not self._append(client)
            # of a scan that was there, or rows that were refused, it is not known how far it had got
            self._doubtful = found

    def _append(self, client: redis.Redis) -> bool:
        """False when Redis has refused rows, as it does when it has them."""
        steps = self._next_appends(min(_PIPELINE_BYTES, self._room.left(client)))
        commands = [("PTTL", self._scan_key), *(("XADD", *self._xadd(step)) for step in steps)]
        remaining, *replies = execute_at_once(client, commands)
        require_scan(client, self._claim, remaining, {step.key for step in steps if isinstance(step, RowsStep)})
        if self._is_refused(replies):
            return False
        for step in steps:
            self._steps.popleft()
            if isinstance(step, RowsStep):
                self._rows[step.key] = step.entry.index + step.entry.length
            else:
                self._documents = step.entry.index + 1
        return True

    def _next_appends(self, most_bytes: int) -> list[RowsStep | DocumentStep]:
        steps: list[RowsStep | DocumentStep] = []
        size = 0
        for step in self._steps:
            if isinstance(step, SaveStep) or size > most_bytes or len(steps) >= _PIPELINE_COMMANDS:
                break
            steps.append(step)
            size += step.size
        self._room.take(size)
        return steps

    def _xadd(self, step: RowsStep | DocumentStep) -> list[Any]:
        key = step.key if isinstance(step, RowsStep) else self._documents_key
        # only the first entry may make the stream: later ones would stand behind a gap
        arguments: list[Any] = [key, *(("NOMKSTREAM",) if step.entry.index else ()), step.entry.id]
        for field, value in step.entry.fields.items():
            arguments += (field, value)
        return arguments

    def _is_refused(self, replies: Sequence[Any]) -> bool:
        """Whether Redis says that it has rows already, or that a stream is sealed."""
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if unexpected := [error for error in errors if not _REFUSED.search(str(error))]:
            raise unexpected[0]
        if errors and self._refused:
            raise RunAbandonedError(
                "another process writes the same streams; this one stops. Publish a run from one place only"
            )
        self._refused = bool(errors)
        if not errors and None in replies:
            raise RunLostError(f"Redis has lost streams of run {self._claim.uid}")
        return self._refused

    def _save(self, client: redis.Redis, step: SaveStep) -> None:
        if step.seal:
            require_scan(client, self._claim, client.pttl(self._scan_key), ())
            seal(client, step.seal)
        announced = step.state is not None and (self._state is None or step.state >= self._state)
        if announced:
            time.sleep(max(0.0, self._declared_at + _LOAD_SECONDS - time.monotonic()))
        with client.pipeline(transaction=True) as pipe:
            # a transaction that is under way for long must not undo what has been sent since then
            pipe.watch(self._scan_key)
            require_scan(client, self._claim, pipe.pttl(self._scan_key), step.seal)
            pipe.multi()
            if foreign := [key for name, key in step.new.items() if name not in self._streams]:
                pipe.unlink(*foreign)
            self._save_model(pipe, step)
            if announced:
                pipe.xadd(self._state_key, {"state": int(step.state)})  # type: ignore[arg-type]
            if step.state == ScanState.CLOSED:
                pipe.expire(self._documents_key, protocol.DOCUMENTS_SECONDS)
            saved = pipe.execute()[1 if foreign else 0]
        if saved is None:
            gone(client, self._claim, step.seal)
        self._state = step.state if announced else self._state
        self._streams |= step.streams
        if step.state is None:
            self._declared_at = time.monotonic()

    def _save_model(self, pipe: redis.client.Pipeline, step: SaveStep) -> None:
        if step.streams >= self._streams:
            pipe.execute_command("JSON.SET", self._scan_key, "$", step.model, "XX")
        else:
            # sent again without the marks of its batches: what readers have seen must not disappear
            pipe.execute_command("JSON.TYPE", self._scan_key)

    def _create(self, client: redis.Redis, step: SaveStep) -> bool:
        """Scan, history entry, first state and first document appear at once. True: they were there, and are ours."""
        first = self._steps[1]
        if not isinstance(first, DocumentStep):
            raise TypeError("a scan is created together with its start document")
        with client.pipeline(transaction=True) as pipe:
            # an emptied database changes the second one
            pipe.watch(self._scan_key, protocol.PROTOCOL_KEY)
            if not pipe.exists(protocol.PROTOCOL_KEY):
                raise redis.ConnectionError("the database has lost the version of its protocol: was it emptied?")
            found = not protocol.is_gone(pipe.pttl(self._scan_key))
            if found:
                pipe.unwatch()
                require_ours(client, self._claim)
            else:
                if self.may_be_deleted:
                    require_not_deleted(client, self._claim)
                pipe.multi()
                # those of a scan that was deleted or has expired
                pipe.delete(self._scan_key, self._state_key, self._documents_key)
                pipe.execute_command("JSON.SET", self._scan_key, "$", step.model)
                pipe.xadd(protocol.HISTORY_KEY, {"key": self._scan_key}, maxlen=protocol.HISTORY_LENGTH)
                pipe.xadd(self._state_key, {"state": int(ScanState.CREATED)})
                pipe.execute_command("XADD", *self._xadd(first))
                pipe.execute()
        if not found:
            del self._steps[1]
        return found

    def _resume(self, client: redis.Redis) -> None:
        """Ask how far Redis has got, and forget the steps that it has taken."""
        if not (isinstance(self._steps[0], SaveStep) and self._steps[0].creates):
            pending = {step.key for step in self._steps if isinstance(step, RowsStep)}
            taken = Taken(client, self._claim, pending | self._rows.keys())
            require_ours(client, self._claim)
            taken.require(self._rows, self._documents, self._streams)
            self._state, self._streams = taken.state, taken.streams
            self._rows, self._documents = taken.rows, taken.documents
            self._steps = deque(taken.remaining(self._steps))
        self._doubtful = False


def _may_be_mended(error: redis.ResponseError) -> bool:
    return isinstance(error, _MENDED_BY_WAITING) or _MENDED.search(str(error)) is not None
