"""Nodes that were looked up a moment ago: a client reads a run in many requests, and each begins at its node."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

# the longest that a change made by another process stays unseen
SECONDS = 0.5
_MOST = 256


class RecentNodes:
    """Nodes by key, each for half a second. For one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nodes: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def get(self, key: str) -> Any:
        """The node, or None when it has to be looked up."""
        found = self._nodes.get(key)
        return found[1] if found is not None and self._clock() - found[0] < SECONDS else None

    def put(self, key: str, node: Any) -> None:
        """Remember a node."""
        self._nodes[key] = (self._clock(), node)
        self._nodes.move_to_end(key)
        if len(self._nodes) > _MOST:
            self._nodes.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget a node, which has changed."""
        self._nodes.pop(key, None)
