"""A bounded cache of decoded columns that grow."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeAlias

from ..protocol import Rows
from .growing import GrowingArray, GrowingList
from .store import Piece

ColumnKey: TypeAlias = tuple[Hashable, str]

CACHE_BYTES = 256 * 2**20

# One column may take this part of the budget.
_LARGEST_SHARE = 4


class Block:
    """Consecutive rows of one column. It grows at both ends; rows never change."""

    def __init__(self, piece: Piece) -> None:
        self.start = piece.start
        self._rows = GrowingList(piece.rows) if isinstance(piece.rows, list) else GrowingArray(piece.rows)
        self._list_bytes = piece.nbytes

    @property
    def stop(self) -> int:
        """One more than the last row."""
        return self.start + len(self._rows)

    @property
    def nbytes(self) -> int:
        """Memory that is held."""
        return self._list_bytes if isinstance(self._rows, GrowingList) else self._rows.nbytes

    def touches(self, start: int, stop: int) -> bool:
        """Whether the two ranges overlap or adjoin."""
        return start <= self.stop and stop >= self.start

    def read(self, start: int, stop: int) -> Rows:
        """Rows `start` to `stop`, all of which are here."""
        return self._rows.read(start - self.start, stop - self.start)

    def join(self, piece: Piece) -> None:
        """Take over what `piece`, which touches the block, has before or after it."""
        before, after = piece.rows[: max(0, self.start - piece.start)], piece.rows[max(0, self.stop - piece.start) :]
        self._list_bytes += piece.nbytes * (len(before) + len(after)) // max(1, len(piece.rows))
        if len(before):
            self._rows.prepend(before)
            self.start = piece.start
        if len(after):
            self._rows.append(after)


@dataclass(frozen=True, slots=True)
class Look:
    """What the cache has of a range of rows, and what has to be fetched; nothing when `start == stop`."""

    block: Block | None
    start: int
    stop: int

    @property
    def whole(self) -> bool:
        """Whether nothing has to be fetched."""
        return self.start >= self.stop


class ColumnCache:
    """Columns by key, the least recently used dropped first. Thread-safe.

    Of a column it holds one block of consecutive rows. A range that touches the block extends it; another one takes
    its place when it is longer. Arrays that are read are views that nobody can write to; they stay valid.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._nbytes = 0
        self._blocks: OrderedDict[ColumnKey, Block] = OrderedDict()
        self._sizes: dict[ColumnKey, int] = {}
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are held now; at most the limit."""
        return self._nbytes

    @property
    def largest(self) -> int:
        """Bytes that one column may take; a larger one is not kept."""
        return self._limit // _LARGEST_SHARE

    def read(self, key: ColumnKey, start: int, stop: int) -> Rows | None:
        """The rows `start` to `stop`, or None unless all of them are here."""
        with self._lock:
            block = self._blocks.get(key)
            if block is None or start < block.start or stop > block.stop:
                return None
            self._blocks.move_to_end(key)
            return block.read(start, stop)

    def look(self, key: ColumnKey, start: int, stop: int) -> Look:
        """What has to be fetched so that `merge` can give the rows `start` to `stop`."""
        with self._lock:
            block = self._blocks.get(key)
            if block is None or not block.touches(start, stop):
                return Look(None, start, stop)
            self._blocks.move_to_end(key)
            if start < block.start and stop > block.stop:
                return Look(None, start, stop)
            if start < block.start:
                return Look(block, start, block.start)
            return Look(block, block.stop, stop)

    def merge(self, key: ColumnKey, look: Look, piece: Piece | None, start: int, stop: int) -> Rows:
        """The rows `start` to `stop` from what `look` found and the `piece` that it lacked, which is kept."""
        with self._lock:
            block = look.block
            if block is None:
                if piece is None:
                    raise ValueError("there is nothing to merge")
                block = Block(piece)
            elif piece is not None:
                block.join(piece)
            self._keep(key, block)
            return block.read(start, stop)

    def drop(self, owner: Hashable) -> None:
        """Forget all columns whose key begins with `owner`."""
        with self._lock:
            for key in [key for key in self._blocks if key[0] == owner]:
                self._remove(key)

    def _keep(self, key: ColumnKey, block: Block) -> None:
        held = self._blocks.get(key)
        if held is not None and held is not block and held.stop - held.start > block.stop - block.start:
            return
        if held is not None:
            self._remove(key)
        if block.nbytes > self.largest:
            return
        self._blocks[key] = block
        self._sizes[key] = block.nbytes
        self._nbytes += block.nbytes
        while self._nbytes > self._limit:
            self._remove(next(iter(self._blocks)))

    def _remove(self, key: ColumnKey) -> None:
        del self._blocks[key]
        self._nbytes -= self._sizes.pop(key)
