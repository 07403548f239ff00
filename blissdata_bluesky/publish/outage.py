"""What the log tells of an outage: one warning when it begins, one when all that waited has been caught up."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)


class Outage:
    """The outages of one server, one after the other; a fault while the last one is caught up belongs to that one."""

    def __init__(self, place: str, waiting_place: str) -> None:
        """`place`: the URL without password. `waiting_place`: where documents wait meanwhile."""
        self._place = place
        self._waiting_place = waiting_place
        self._since: float | None = None
        self._done = 0
        self._goal: int | None = None
        self._again: set[str] = set()

    def expect(self) -> None:
        """It has begun, and the log says so already."""
        self._since = time.monotonic()

    def begin(self, error: Exception, done: int) -> bool:
        """A fault; `done` documents are acknowledged. Whether it begins an outage."""
        self._goal = None
        if self._since is not None:
            return False
        self._since, self._done = time.monotonic(), done
        logger.warning(
            "publishing to %s is interrupted: %s. Scans go on; what they give waits in %s and is published when the "
            "server answers again.",
            self._place,
            str(error).rstrip("."),
            self._waiting_place,
        )
        return True

    def publish_again(self, uid: str) -> None:
        """A run is published again from its journal, because Redis has lost it."""
        self._again.add(uid)

    def answered(self, given: int) -> None:
        """The server has taken something; it ends when all that is `given` now has been acknowledged."""
        if self._since is not None and self._goal is None:
            self._goal = given

    def caught_up(self, done: int) -> bool:
        """Whether all that waited has been acknowledged."""
        return self._since is not None and self._goal is not None and done >= self._goal

    def progress(self, done: int, *, replaying: bool) -> None:
        """`done` documents are acknowledged; `replaying`: a run is still being published again."""
        if self._since is None or self._goal is None or replaying or not self.caught_up(done):
            return
        logger.warning(
            "publishing to %s goes on after %.1f s; documents caught up: %d%s",
            self._place,
            time.monotonic() - self._since,
            self._goal - self._done,
            f"; runs published again from their journals: {len(self._again)}" if self._again else "",
        )
        self._since = self._goal = None
        self._again.clear()
