"""What is wrong with a journal that nobody writes any more, and what is whole behind that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from .records import is_torn, next_record, read_records


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a journal does not have the whole of its run, though its owner wrote all of it."""

    offset: int
    """Up to which byte it is whole."""
    behind: int
    """Whole documents that stand behind the damage: rows cannot follow each other across it."""
    cut: bool = False
    """Whether nothing stands behind that byte, though Redis has acknowledged more."""

    @property
    def reason(self) -> str:
        """Why the run is incomplete."""
        if self.cut:
            return f"its journal ends at byte {self.offset}, before what Redis has acknowledged of it"
        more = f", and {self.behind} documents behind that are left out" if self.behind else ""
        return f"its journal is damaged at byte {self.offset}{more}"


def damage_at(descriptor: int, offset: int, acknowledged: int = 0) -> Damage | None:
    """The damage behind the last whole record, which ends at `offset`. Raises OSError.

    None at the end of the file, and where its owner died in the middle of a record. `acknowledged`: bytes of the
    journal that Redis has.
    """
    behind = sum(1 for _ in records_behind(descriptor, offset))
    if behind or not is_torn(descriptor, offset):
        return Damage(offset, behind)
    return Damage(offset, 0, cut=True) if acknowledged > offset else None


def records_behind(descriptor: int, offset: int) -> Iterator[tuple[int, int, bytes]]:
    """(begin, end, payload) of every whole record behind the damaged one at `offset`, across further damages.

    Raises OSError.
    """
    size, end = os.fstat(descriptor).st_size, offset
    while end < size and (begin := next_record(descriptor, end)) is not None:
        for end, payload in read_records(descriptor, begin):
            yield begin, end, payload
            begin = end
