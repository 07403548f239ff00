"""What is to be said of the connection, and of hearing nothing: at once, and then ever more rarely."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .subscription import Link

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0
_QUIET_SECONDS = 60.0
_LONGEST_QUIET_SECONDS = 3600.0


class Silence:
    """Told of everything that happens, with the time (time.monotonic)."""

    def __init__(self, address: str, tell: Callable[[str], None], now: float) -> None:
        """`tell`: is given a line of what is no fault."""
        self._address = address
        self._tell = tell
        self.connected = False
        """Whether there is a proxy."""
        self._refused = False
        self._since, self._pause, self._tell_at = now, _PATIENCE_SECONDS, now + _PATIENCE_SECONDS

    def heard(self, now: float) -> None:
        """Something has come."""
        self._wait(now, _QUIET_SECONDS)

    def note(self, link: Link, now: float) -> None:
        """What has become of the connection."""
        # a socket that wants to be published to hangs up without a word
        if link is Link.REFUSED or (link is Link.LOST and not self.connected):
            if not self._refused:
                self._refused = True
                logger.error(
                    "what answers at %s does not publish with 0MQ: give --zmq the second port of bluesky-0MQ-proxy "
                    "(out), not the one that RunEngines publish to (in)",
                    self._address,
                )
        elif link is Link.MADE and not self.connected:
            self._tell(f"connected to {self._address}")
            self.connected, self._refused = True, False
            self._wait(now, _QUIET_SECONDS)
        elif link is Link.LOST:
            logger.warning(
                "the proxy at %s is gone; what is published until it is back is not heard. It is looked for all the "
                "time",
                self._address,
            )
            self.connected = False
            self._wait(now, _QUIET_SECONDS)

    def look(self, now: float) -> None:
        """Say that there is nothing to hear, when it is time to."""
        if now < self._tell_at:
            return
        if self.connected:
            self._tell(f"nothing was heard for {(now - self._since) / 60:.0f} min; {self._address} answers")
        else:
            logger.warning("no proxy answers at %s; it is looked for all the time", self._address)
        self._pause = min(max(2 * self._pause, _QUIET_SECONDS), _LONGEST_QUIET_SECONDS)
        self._tell_at = now + self._pause

    def _wait(self, now: float, pause: float) -> None:
        self._since, self._pause, self._tell_at = now, pause, now + pause
