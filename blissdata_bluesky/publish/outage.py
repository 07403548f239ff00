"""What is told of an outage: one warning when it begins, one when all that waited has been caught up."""

from __future__ import annotations

import logging
import time

from ..journal import JournalDirectory
from .tally import Tally

logger = logging.getLogger(__name__)


class Outage:
    """The outages of one server, one after the other; a fault while the last one is caught up belongs to that one."""

    def __init__(self, place: str, journals: JournalDirectory | None, tally: Tally) -> None:
        """`place`: the URL without password. `journals`: where documents wait meanwhile, and the beginning is noted."""
        self._place = place
        self._journals = journals
        self._tally = tally
        self._since: float | None = None
        self._done = 0
        self._goal: int | None = None
        self._again: set[str] = set()

    def expect(self, error: Exception) -> None:
        """It has begun, and the log says so already."""
        self._since = time.monotonic()
        self._note(str(error))

    def begin(self, error: Exception) -> None:
        """A fault, which begins an outage or prolongs one."""
        self._goal = None
        if self._since is not None:
            return
        self._since, self._done = time.monotonic(), self._tally.done
        logger.warning(
            "publishing to %s is interrupted: %s. Scans go on; what they give waits in %s and is published when the "
            "server answers again.",
            self._place,
            str(error).rstrip("."),
            self._journals.path if self._journals else "memory",
        )
        self._note(f"interrupted: {error}")

    def publish_again(self, uid: str) -> None:
        """A run is published again from its journal, because Redis has lost it."""
        self._again.add(uid)

    def answered(self) -> None:
        """The server has taken something; it ends when all that is given now has been acknowledged."""
        if self._since is not None and self._goal is None:
            self._goal = self._tally.given

    @property
    def caught_up(self) -> bool:
        """Whether all that waited has been acknowledged."""
        return self._since is not None and self._goal is not None and self._tally.done >= self._goal

    def end(self) -> None:
        """It ends, if all that waited has been acknowledged."""
        if self._since is None or self._goal is None or not self.caught_up:
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

    def _note(self, message: str) -> None:
        if self._journals is not None:
            self._journals.note(message)
