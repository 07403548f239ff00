"""How far columns reach, asked of the store again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from .layout import StoredColumn
from .store import Extent, RunStore

logger = logging.getLogger(__name__)


class Reach:
    """The extent of columns that grow together. Thread-safe; it never gives less than it gave before."""

    def __init__(self, store: RunStore, irregular: StoredColumn, about: str, on_loss: Callable[[], None]) -> None:
        """`on_loss` is called when rows that were there are gone: deleted, or being published again."""
        self._store = store
        self._irregular = irregular
        self._about = about
        self._on_loss = on_loss
        self._lost = False
        self._lock = threading.Lock()
        self.extent = Extent()
        """As the last answer was."""

    def ask(self, columns: Sequence[StoredColumn]) -> Extent:
        """The extent now. Raises what `RunStore.extent` raises."""
        known = self.extent
        if known.sealed:
            return known
        now = self._store.extent(columns, self._irregular, known, self._about)
        with self._lock:
            if now.rows < known.rows:
                self._lose(now.rows)
            elif now.rows >= self.extent.rows:
                self.extent = now
            return self.extent

    def _lose(self, rows: int) -> None:
        if not self._lost:
            logger.warning("%s: %d rows became %d; was the Redis emptied?", self._about, self.extent.rows, rows)
        self._lost = True
        self._on_loss()
