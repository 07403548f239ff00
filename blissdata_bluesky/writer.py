"""`BlissdataWriter`: the RunEngine callback that makes blissdata scans of Bluesky runs."""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
import uuid
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs

from .archiving import Archiving
from .connection import redact, target
from .errors import DocumentError, RedisTargetError, RedisUnreachableError, WriterLossError
from .foreign import safe_text
from .journal import Fsync, Header, JournalDirectory, Syncer
from .mapping import DEFAULT_PATH_TEMPLATE
from .packing import pack_document
from .publish import (
    INCOMPLETE,
    IdentityRule,
    Publisher,
    PublisherOptions,
    Routes,
    RunFeed,
    identity_from_start,
)

logger = logging.getLogger(__name__)

DEFAULT_JOURNAL = platformdirs.user_state_path("blissdata-bluesky") / "journal"

_MEMORY_LIMIT = 256 * 2**20
_EXIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """How far publishing is. Documents are counted, events included; rows are whole events of any stream."""

    queued: int
    """Documents that were given and are not acknowledged by Redis."""
    peak: int
    """The most documents that `statistics`, or a document that found many waiting, ever saw queued."""
    published_rows: int
    """Rows acknowledged by Redis, over all runs and streams."""
    lag: float
    """Seconds since the oldest queued document was given; 0 when none is."""
    open_runs: int
    """Runs that have started and not stopped."""
    recovered: tuple[str, ...]
    """One sentence for each run of a dead process that was published from its journal."""


class BlissdataWriter:
    """Publishes every run that it is subscribed to: `RE.subscribe(BlissdataWriter("redis://host"))`.

    The callback appends the document to the run's journal, hands it to one daemon thread and returns: it never waits
    for the network and never raises. What cannot be published is said in the log of `blissdata_bluesky`.
    """

    def __init__(  # noqa: PLR0913 - the names that users know
        self,
        redis_url: str,
        *,
        journal: str | Path | None = DEFAULT_JOURNAL,
        prepare_after: float | None = 60.0,
        require_redis: bool = False,
        on_loss: Literal["warn", "abort"] = "warn",
        fsync: Fsync = 1.0,
        identity: IdentityRule = identity_from_start,
        archive: str | Path | None = None,
        path_template: str = DEFAULT_PATH_TEMPLATE,
        file_writer: Literal["builtin"] | None = "builtin",
    ) -> None:
        """Connect once, to find what no waiting would mend; a server that is away now may come later.

        Parameters
        ----------
        redis_url
            `redis://`, `rediss://` or `unix://`, with user and password where the server wants them.
        journal
            Directory of the journals; None keeps documents in memory only, and a killed process loses them. Runs
            that a dead process left there for the same Redis are published now, in the background.
        prepare_after
            Seconds after which a scan that has rows of `baseline` or monitors only passes to STARTED; None: never.
        require_redis
            Raise RedisUnreachableError when nothing answers, instead of one warning.
        on_loss
            What happens when a document can be kept nowhere: "warn" says so in the log, once a run; "abort" raises
            WriterLossError as well, which ends the plan.
        fsync
            When journals are brought to the disk, for the case that the power fails: "never" leaves it to the
            operating system, "run" does it when a run stops, a number of seconds that often as well.
        identity
            Start document → identity of the scan (blissdata's ESRFIdentityModel), in place of the default rule.
        archive
            Root directory of the archive, where each run becomes one NeXus/HDF5 file while it goes on; blissdata
            clients that read trimmed rows from there must see it at the same path. It needs a journal. None: no files.
        path_template
            Path of a run's file below `archive`, over the members of the start document (`mapping.PathTemplate`).
        file_writer
            "builtin": our archiver writes the files; a child process is started for it, unless one is at work on
            this journal directory. None: somebody else does, as blisswriter by the layout in `scan.info["h5maps"]`.

        Raises
        ------
        RedisTargetError
            The URL, the login, the modules or the database are wrong; the message says which, and the remedy.
        JournalError
            The journal's directory cannot be made or written.
        ArchiveError
            The archive's directory cannot be made or written.
        ValueError
            `on_loss`, `fsync`, `path_template` or `file_writer` is none of the above, or an archive has no journal.
        """
        if on_loss not in {"warn", "abort"}:
            raise ValueError(f'on_loss={on_loss!r}: give "warn" or "abort"')
        self._archive = Archiving(archive, path_template, file_writer)
        if archive is not None and journal is None:
            raise ValueError("archive: it is written from the journal, so journal=None cannot be")
        self._place = redact(redis_url)
        self._on_loss = on_loss
        self._identity = identity
        self._syncer = Syncer(fsync)
        self._journals = None if journal is None else JournalDirectory(Path(journal))
        self._publisher = Publisher(redis_url, PublisherOptions(prepare_after, _MEMORY_LIMIT), self._journals)
        self._target = target(redis_url)
        self._routes = Routes()
        self._lock = threading.Lock()
        self._closed = self._refused = self._flushed = False
        self._ended = threading.Event()
        self._connect(require_redis=require_redis)
        if self._journals is not None:
            self._journals.warn_if_remote()
            self._publisher.recover()
            self._archive.start(self._journals.path)
        atexit.register(self.close, _EXIT_SECONDS)
        os.register_at_fork(after_in_child=partial(_leave_to_parent, weakref.ref(self)))

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one Bluesky document. Returns within microseconds.

        Raises WriterLossError when the document can be kept nowhere and `on_loss` is "abort", and nothing else.
        """
        try:
            with self._lock:
                self._take(name, doc)
        except WriterLossError:
            raise
        except DocumentError as error:
            uid = doc.get("uid") if isinstance(doc, Mapping) else None
            logger.error("a document of type %r (uid %s) is not published: %s", name, uid, error)
        except Exception:
            logger.exception("a document of type %r is not published; please report this", name)

    def knows(self, uid: str) -> bool:
        """Whether a run is on its way to Redis, or a journal in the directory has its beginning."""
        return self._publisher.knows(uid) or (self._journals is not None and self._journals.holds(uid))

    def mark_incomplete(self, uid: str, reason: str) -> bool:
        """Say of an open run that documents of it did not get here; whether it is open.

        It ends as FAILURE, whatever its stop document says, and tells `reason`, in Redis, Tiled and the archive. The
        last reason counts.
        """
        with self._lock:
            if self._closed or uid not in self._routes:
                return False
            return self._publisher.give(self._routes[uid], INCOMPLETE, {"run_start": uid, "reason": reason})

    def flush(self, timeout: float | None = 10.0) -> bool:
        """Wait until Redis has acknowledged all that was given before this call; whether it did within `timeout` s.

        None waits as long as it takes. False, too, when documents had to be given up since the last flush; the log says
        which and why.
        """
        return self._publisher.flush(timeout)

    def statistics(self) -> WriterStatistics:
        """A snapshot of counters."""
        publisher = self._publisher
        return WriterStatistics(
            publisher.tally.queued,
            publisher.tally.peak,
            publisher.published_rows,
            publisher.lag,
            len(self._routes),
            tuple(publisher.recovered),
        )

    def close(self, timeout: float | None = 10.0) -> bool:
        """Flush, then end the thread and the connection; whether all was acknowledged within `timeout` seconds.

        What was not acknowledged stays in the journals. Documents that come later are refused in the log.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            first, self._closed = not self._closed, True
        if not first:
            return self._ended.wait(timeout) and self._flushed
        try:
            self._flushed = self._close(timeout, deadline)
        finally:
            self._ended.set()
        return self._flushed

    def _close(self, timeout: float | None, deadline: float | None) -> bool:
        atexit.unregister(self.close)
        self._archive.stop()
        flushed = self.flush(timeout)
        ended = self._publisher.stop(_left(deadline))
        self._syncer.stop(_left(deadline))
        if not (flushed and ended):
            logger.warning(
                "%s has not acknowledged all at close (%d documents wait); %s",
                self._place,
                self._publisher.tally.queued,
                f"what can be published, the next writer publishes from {self._journals.path}"
                if self._journals
                else "they are lost",
            )
        return flushed and ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, *, require_redis: bool) -> None:
        try:
            self._publisher.require_ready()
        except RedisTargetError:
            self._publisher.stop(None)
            raise
        except RedisUnreachableError as error:
            if require_redis:
                self._publisher.stop(None)
                raise
            self._publisher.expect_outage(error)
            logger.warning(
                "%s. Runs are taken all the same%s and published when it answers.",
                error,
                f", kept in {self._journals.path}," if self._journals else "",
            )

    def _take(self, name: str, doc: Mapping[str, Any]) -> None:
        if self._closed:
            self._refuse()
            return
        if not isinstance(doc, Mapping):
            raise DocumentError("it is no mapping")
        feed = self._open(doc) if name == "start" else self._routes.find(name, doc)
        if feed is None or (feed.repeated and feed.repeats(name, doc)):
            return
        if not self._publisher.give(feed, name, doc):
            self._lose(feed, name)
        if name == "stop":
            self._routes.remove(feed)
            if feed.journal is not None:
                self._syncer.end(feed.journal)
            if feed.repeated:
                self._routes.leave_out(feed.uid)

    def _refuse(self) -> None:
        if not self._refused:
            self._refused = True
            raise DocumentError("the writer is closed, and what comes later is left out; make a new one")

    def _lose(self, feed: RunFeed, name: str) -> None:
        message = (
            f"run {feed.uid}: documents are lost: no journal takes them, and {_MEMORY_LIMIT // 2**20} MB wait for "
            f"{self._place} already"
        )
        if not feed.reported:
            feed.reported = True
            logger.error(message)
        if name == "start":
            self._routes.remove(feed)
            self._routes.leave_out(feed.uid)
            self._publisher.drop(feed)
        if self._on_loss == "abort":
            raise WriterLossError(message)

    def _open(self, start: Mapping[str, Any]) -> RunFeed:
        uid = start.get("uid")
        if not isinstance(uid, str) or not uid:
            raise DocumentError("the start has no uid; the whole run is left out")
        start_hash = hash(pack_document("start", start))
        self._routes.require_new(uid, start_hash)
        if self._publisher.knows(uid):
            self._routes.leave_out(uid)
            raise DocumentError("a run with this uid is being published already; give every run a uid of its own")
        identity = self._identity_of(start)
        header = Header(uid, uuid.uuid4().hex, self._target, identity, self._archive.builtin_root)
        journal = self._journals.create(header) if self._journals else None
        if journal is not None:
            self._syncer.add(journal)
        elif header.archive:
            # without a journal, nobody will write the file
            identity["path"] = None
        feed = RunFeed(uid, header.publisher, identity, journal, start_hash=start_hash)
        self._routes.add(feed)
        self._publisher.open(feed)
        return feed

    def _identity_of(self, start: Mapping[str, Any]) -> dict[str, Any]:
        try:
            identity = json.loads(json.dumps(dict(self._identity(start))))
        except Exception:
            logger.exception("run %s: the identity rule failed, the default rule takes its place", start["uid"])
            identity = identity_from_start(start)
        # a lone surrogate can be kept neither in the journal nor in Redis
        texts = {key: safe_text(value) for key, value in identity.items() if isinstance(value, str)}
        return {**identity, **texts, "path": self._archive.path(start)}

    def _leave_to_parent(self) -> None:
        # another thread may have held the lock when the process was forked
        self._lock = threading.Lock()
        self._closed = True
        atexit.unregister(self.close)
        # a lock lasts as long as any process holds the file
        self._publisher.forget()
        self._syncer.forget()
        self._archive.forget()


def _leave_to_parent(reference: weakref.ref[BlissdataWriter]) -> None:
    """In a forked child: thread, connection and journals are its parent's."""
    writer = reference()
    if writer is not None:
        writer._leave_to_parent()  # noqa: SLF001 - it is this module's own


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
