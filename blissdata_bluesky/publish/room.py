"""How much may be sent before Redis is nearly full.

A Redis that is quite full refuses what blissdata's memory tracker writes before it makes room, and the two wait for
each other for ever. So we stop a little earlier.
"""

from __future__ import annotations

import math
import time

import redis
from redis.exceptions import NoPermissionError, OutOfMemoryError

FULL = 0.95
_ASK_SECONDS = 1.0
# what is sent stands in Redis twice for a moment
_COPIES = 2


class Room:
    """What is left in the memory of one Redis. It is asked once a second, and more often when that is little."""

    def __init__(self) -> None:
        self._left = 0.0
        self._asked = -math.inf

    def left(self, client: redis.Redis) -> int:
        """Bytes that may be sent. Raises OutOfMemoryError when there are none, and other errors of Redis."""
        if self._left <= 0 or time.monotonic() - self._asked > _ASK_SECONDS:
            self._ask(client)
        return int(min(self._left, 2**62))

    def take(self, size: int) -> None:
        """So much is sent."""
        # twice, so that it is asked again some way before the end: others send as well
        self._left -= 2 * size

    def _ask(self, client: redis.Redis) -> None:
        self._asked = time.monotonic()
        try:
            memory = client.info("memory")
        except NoPermissionError:
            # who may not ask finds out by being refused
            self._left = math.inf
            return
        used, bound = memory["used_memory"], memory["maxmemory"]
        self._left = (FULL * bound - used) / _COPIES if bound else math.inf
        if self._left <= 0:
            raise OutOfMemoryError(
                f"its memory is nearly full ({used / 2**20:.0f} of {bound / 2**20:.0f} MiB): run blissdata's memory "
                "tracker beside it, or delete scans"
            )
