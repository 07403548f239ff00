"""What was heard, on its way to a writer: runs that are not whole are marked as such."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from ..foreign import as_text, in_64_bits
from ..mapping.bulk import first_of_bulk
from ..mapping.scan_info import iso_time
from ..publish.routes import NAMED, OF_THE_ONLY_RUN, PARENTS
from ..telling import Teller
from ..writer import BlissdataWriter
from .deserialize import Serializer, deserializer
from .heard import HeardRun
from .subscription import Malformed, Message

logger = logging.getLogger(__name__)

_DOCUMENTS = frozenset({"start", "bulk_events", *PARENTS})
_MOST_COMPLAINTS = 20
_MOST_REMEMBERED = 10_000
_MOST_UIDS = 1000
_LONGEST_NAME = 100
_LONGEST_REASON = 300
_UUID = re.compile(rb"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


class Listener:
    """Gives a writer the documents that others publish. Nothing that is sent to it ends it."""

    def __init__(self, writer: BlissdataWriter, serializer: Serializer, tell: Callable[[str], None]) -> None:
        """`tell`: is given a line when a run begins and when it ends."""
        self._writer = writer
        self._serializer = serializer
        self._deserialize = deserializer(serializer)
        self.tell = Teller(tell, "what is heard cannot be printed; it is published all the same")
        """Says it to whoever listens to this listener."""
        self._runs: dict[str, HeardRun] = {}
        # run, and what refers to it, by the uid that it is referred to by
        self._by_uid: dict[str, HeardRun] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._left_out: OrderedDict[str, None] = OrderedDict()
        # uids in start documents that could not be read, and why
        self._refused_starts: OrderedDict[str, str] = OrderedDict()
        self._complained: set[tuple[str, str]] = set()
        self.documents = 0
        """Documents that were heard and could be read."""
        self.refused = 0
        """Messages that were no documents, or could not be read."""
        self.ended = 0
        """Runs of which the stop document was heard."""
        self._events = 0
        self.heard_at: float | None = None
        """When the last document came (time.monotonic)."""

    @property
    def open_runs(self) -> list[HeardRun]:
        """The runs of which no stop document was heard."""
        return list(self._runs.values())

    @property
    def events(self) -> int:
        """Events that were heard, repeated ones included."""
        return self._events + sum(run.events for run in self._runs.values())

    def receive(self, message: Message | Malformed) -> None:
        """Take what came over the network."""
        if isinstance(message, Malformed):
            self._complain("", message.reason)
            return
        if message.name not in _DOCUMENTS:
            self._refuse(message, "documents of this type are not known to this version")
            return
        try:
            document = self._deserialize(message.payload)
        except Exception as error:  # noqa: BLE001 - anybody may have sent it
            self._refuse(message, f"it cannot be read as {self._serializer} ({_short(error)})")
            return
        if not isinstance(document, dict):
            self._refuse(message, "it is no mapping")
            return
        self.hear(message.name, document)

    def _refuse(self, message: Message, reason: str) -> None:
        """Leave a message out, and tell the run that it is of: its uids are in its bytes, in every serializer."""
        name = message.name[:_LONGEST_NAME]
        self._complain(name, reason)
        uids = dict.fromkeys(uid.decode() for uid in islice(_uids(message.payload), _MOST_UIDS))
        run = next((self._by_uid[uid] for uid in uids if uid in self._by_uid), None)
        unknown = [uid for uid in uids if uid not in self._by_uid]
        if name == "start":
            for uid in unknown:
                _remember(self._refused_starts, uid, reason)
        elif run is not None:
            if name in NAMED:
                # what refers to it has nothing to refer to
                for uid in unknown:
                    _remember(self._left_out, uid)
            if run.refuse(name, reason):
                logger.warning(
                    "run %s: a document of type %r is left out: %s. The run goes on and is marked as incomplete",
                    run.uid,
                    name,
                    reason,
                )
                self._mark(run)

    def hear(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document."""
        self.documents += 1
        self.heard_at = time.monotonic()
        try:
            wanted = self._note(name, document)
        except Exception:
            logger.exception("a document of type %r could not be looked at; please report this", name)
            wanted = True
        if wanted:
            self._writer(name, document)
        if name == "stop":
            try:
                self._end(document)
            except Exception:
                logger.exception("the end of a run could not be told; please report this")

    def _note(self, name: str, document: Mapping[str, Any]) -> bool:
        """Whether the writer is to have it."""
        if name == "start":
            self._begin(document)
            return True
        members = PARENTS.get("event" if name == "bulk_events" else name, ())
        referred = _referred(members, first_of_bulk(document) if name == "bulk_events" else document)
        run = next((self._by_uid[uid] for uid in referred if uid in self._by_uid), None)
        own = as_text(document.get("uid")) if name in NAMED else ""
        if run is None and not self._left_out.keys().isdisjoint(referred):
            _remember(self._left_out, own)
            return False
        uid = document.get("run_start")
        if run is None and uid is None and name in OF_THE_ONLY_RUN and len(self._runs) == 1:
            (run,) = self._runs.values()
        if run is None and isinstance(uid, str) and uid not in self._finished:
            run = self._join(uid, document)
            if run is None:
                _remember(self._left_out, own)
                return False
        if run is not None:
            if own:
                self._by_uid.setdefault(own, run)
                run.names.append(own)
            self._check(run, name, document)
        return True

    def _begin(self, start: Mapping[str, Any]) -> None:
        uid = start.get("uid")
        if isinstance(uid, str) and uid not in self._runs:
            self._add(HeardRun(uid, as_text(start.get("plan_name") or "run")))

    def _add(self, run: HeardRun) -> None:
        self._runs[run.uid] = self._by_uid[run.uid] = run
        run.names.append(run.uid)
        self.tell(f"{run.uid}  {run.name}  begins")

    def _join(self, uid: str, document: Mapping[str, Any]) -> HeardRun | None:
        """Take a run whose start was not heard; None when its beginning is published by somebody else."""
        if self._writer.knows(uid):
            logger.warning(
                "run %s was joined in mid-run, and a journal has its beginning, from which it is published: what is "
                "heard of it now is left out. Start a listener again between two runs",
                uid,
            )
            _remember(self._left_out, uid)
            return None
        now = _seconds(document.get("time"))
        refused = self._refused_starts.pop(uid, None)
        if refused is None:
            name, reason = "joined in mid-run", f"its start, and what came before {iso_time(now)}, was not heard"
            reason = f"{name}: {reason}"
        else:
            name, reason = "start left out", f"begun without its start, which was left out by the listener: {refused}"
        logger.warning(
            "run %s was %s. From now on it is published, as far as the descriptors of its streams are heard, and it is "
            "marked as incomplete",
            uid,
            reason,
        )
        self._writer("start", stand_in_start(uid, now, reason))
        self._writer.mark_incomplete(uid, reason)
        self._add(run := HeardRun(uid, name, reason, told=True, lacks=reason))
        return run

    def _check(self, run: HeardRun, name: str, document: Mapping[str, Any]) -> None:
        """Say what is missing, in the log and to those who read the run."""
        if name == "stop":
            missing = run.missing(document)
            if missing or run.refused:
                self._mark(run, missing)
                logger.warning("run %s is not whole: %s", run.uid, run.lacks)
        elif (gap := run.take(name, document)) and not run.told:
            run.told = True
            self._mark(run, gap)
            logger.warning(
                "run %s: %s.%s The run goes on and is marked as incomplete; what is missing in all is said when it ends",
                run.uid,
                run.lacks,
                "" if run.refused else " 0MQ drops what it cannot deliver.",
            )

    def _mark(self, run: HeardRun, missing: str = "") -> None:
        """Tell those who read the run."""
        run.lacks = run.told_of(missing)
        self._writer.mark_incomplete(run.uid, run.lacks)

    def _end(self, stop: Mapping[str, Any]) -> None:
        uid = stop.get("run_start")
        run = self._runs.pop(uid, None) if isinstance(uid, str) else None
        if run is None:
            return
        for uid in run.names:
            self._by_uid.pop(uid, None)
        _remember(self._finished, run.uid)
        self.ended += 1
        self._events += run.events
        incomplete = f"  incomplete: {run.lacks}" if run.lacks else ""
        self.tell(f"{run.uid}  {run.name}  ends: {as_text(stop.get('exit_status'))}, {run.events} events{incomplete}")

    def _complain(self, name: str, reason: str) -> None:
        """Say once of each kind what is left out."""
        self.refused += 1
        if (name, reason) in self._complained or len(self._complained) >= _MOST_COMPLAINTS:
            return
        self._complained.add((name, reason))
        more = "; what else is like that is not reported" if len(self._complained) == _MOST_COMPLAINTS else ""
        logger.error("a message%s is left out: %s%s", f" of type {name!r}" if name else "", reason, more)


def stand_in_start(uid: str, time: float, reason: str) -> dict[str, Any]:
    """What stands in the place of a start document that was not heard, and says so (ADR 23)."""
    return {"uid": uid, "time": time, "blissdata_bluesky": {"stand_in": True, "reason": reason}}


def _seconds(value: Any) -> float:
    """The time of a document, or, when it has none, ours."""
    is_time = isinstance(value, float) or (isinstance(value, int) and in_64_bits(value))
    return float(value) if is_time else time.time()


def _referred(members: tuple[str, ...], document: Mapping[str, Any]) -> list[str]:
    return [uid for member in members if isinstance(uid := document.get(member), str)]


def _remember(uids: OrderedDict[str, Any], uid: str, reason: str | None = None) -> None:
    if uid:
        uids[uid] = reason
        while len(uids) > _MOST_REMEMBERED:
            uids.popitem(last=False)


def _uids(payload: bytes) -> Iterator[bytes]:
    return (found[0] for found in _UUID.finditer(payload))


def _short(error: Exception) -> str:
    """What it says, which may be the sender's words."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - as above
        said = ""
    said = said or type(error).__name__
    return said if len(said) <= _LONGEST_REASON else f"{said[:_LONGEST_REASON]}…"
