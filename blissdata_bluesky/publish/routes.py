"""Which run a document belongs to, by the uids that documents refer to each other with (event-model)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..errors import DocumentError
from ..foreign import as_text, safe_repr
from ..mapping.bulk import first_of_bulk
from .feed import RunFeed

PARENTS: Mapping[str, tuple[str, ...]] = {
    "descriptor": ("run_start",),
    "event": ("descriptor",),
    "event_page": ("descriptor",),
    "stop": ("run_start",),
    "resource": ("run_start",),
    "datum": ("resource",),
    "datum_page": ("resource",),
    "bulk_datum": ("resource",),
    "stream_resource": ("run_start",),
    "stream_datum": ("stream_resource", "descriptor"),
}
"""Document type → the members that name an earlier document."""
NAMED = frozenset({"descriptor", "resource", "stream_resource"})
"""Types of documents that others refer to by their `uid`."""
OF_THE_ONLY_RUN = frozenset({"resource", "stream_resource"})
"""Types of documents of which event-model does not require `run_start`; without it, they are of the only open run."""
_MOST_LEFT_OUT = 10_000


class Routes:
    """The open runs of a writer."""

    def __init__(self) -> None:
        self._feeds: dict[str, RunFeed] = {}
        self._named: dict[RunFeed, list[str]] = {}
        self._left_out: set[str] = set()
        self._shadows: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._named)

    def __contains__(self, uid: str) -> bool:
        return uid in self._feeds

    def add(self, feed: RunFeed) -> None:
        """A run has started."""
        self._feeds[feed.uid] = feed
        self._named[feed] = [feed.uid]

    def remove(self, feed: RunFeed) -> None:
        """A run has stopped: later documents of it are unknown."""
        for uid in self._named.pop(feed):
            self._feeds.pop(uid, None)
        del self._shadows[feed.uid]

    def __getitem__(self, uid: str) -> RunFeed:
        return self._feeds[uid]

    def require_new(self, uid: str, start_hash: int) -> None:
        """Raise DocumentError for a start with the uid of an open run: the same start again, or a second run.

        That one is left out. Until a stop comes, new descriptors are taken for its own: it has started last. Documents
        of the first run go on by the descriptors that are known.
        """
        feed = self._feeds.get(uid)
        if feed is None:
            return
        if feed.start_hash == start_hash:
            feed.repeated = True
            raise DocumentError("this run is given twice, and each document taken once; subscribe the writer once only")
        self._shadows[uid] += 1
        raise DocumentError(
            "a run with this uid is open already; this second one is left out. Give every run a uid of its own"
        )

    def leave_out(self, uid: str) -> None:
        """The log tells of this one; what refers to it is left out without a further word."""
        if len(self._left_out) >= _MOST_LEFT_OUT:
            self._left_out.clear()
        self._left_out.add(uid)

    def find(self, name: str, document: Mapping[str, Any]) -> RunFeed | None:
        """The run of a document that is no start; None for one that is left out, of which the log has told.

        Raises DocumentError, naming what it refers to, for the first document that has no run.
        """
        if name == "bulk_events":
            name, document = "event", first_of_bulk(document)
        for member in PARENTS.get(name, ()):
            feed = self._parent(name, document, member)
            if feed is not None and self._is_of_shadow(feed, name, document):
                return None
            if feed is not None:
                if name in NAMED:
                    self._name(feed, document)
                return feed
        self._leave_out_document(name, document)
        return None

    def _parent(self, name: str, document: Mapping[str, Any], member: str) -> RunFeed | None:
        uid = document.get(member)
        if isinstance(uid, str):
            return self._feeds.get(uid)
        is_only = uid is None and name in OF_THE_ONLY_RUN and len(self._named) == 1
        return next(iter(self._named)) if is_only else None

    def _leave_out_document(self, name: str, document: Mapping[str, Any]) -> None:
        referred = [as_text(document.get(member)) for member in PARENTS.get(name, ())] or [str(name)]
        told = not self._left_out.isdisjoint(referred)
        for uid in (*referred, as_text(document.get("uid"))) if name in NAMED else referred:
            self.leave_out(uid)
        if not told:
            raise DocumentError(_unknown(name, document))

    def _is_of_shadow(self, feed: RunFeed, name: str, document: Mapping[str, Any]) -> bool:
        if not self._shadows[feed.uid]:
            return False
        if name == "stop":
            self._shadows[feed.uid] -= 1
            return True
        if name in NAMED and document.get("uid") not in self._feeds:
            self.leave_out(as_text(document.get("uid")))
            return True
        return False

    def _name(self, feed: RunFeed, document: Mapping[str, Any]) -> None:
        uid = document.get("uid")
        if isinstance(uid, str) and uid not in self._feeds:
            self._feeds[uid] = feed
            self._named[feed].append(uid)


def _unknown(name: str, document: Mapping[str, Any]) -> str:
    if name not in PARENTS:
        return f"documents of type {name!r} are not known to this version"
    referred = ", ".join(f"{member}={safe_repr(document.get(member))}" for member in PARENTS[name])
    return (
        f"no open run of this writer knows {referred}: it has stopped, or the writer was subscribed after its start. "
        "Further documents of it are not reported"
    )
