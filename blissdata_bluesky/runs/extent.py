"""How far the columns of a stream reach in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..protocol import StreamEnd, raw_entries
from .layout import StoredColumn
from .link import Command, RedisLink

# The last entry of a column of images is not fetched again just to learn that it is still the last.
_HEAVY_ROW_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Extent:
    """What was whole at one moment. What is whole once stays so."""

    rows: int = 0
    irregular: int = 0
    """Values in the irregular stream, among them all that belong to `rows`."""
    sealed: bool = False
    """Whether nothing will follow."""
    ends: tuple[StreamEnd, ...] = ()


def ask_extent(
    link: RedisLink, columns: Sequence[StoredColumn], irregular: StoredColumn, known: Extent, about: str
) -> Extent:
    """The extent now, in one round trip. Its rows are fewer than `known` only if the data was lost meanwhile."""
    ends = known.ends or (StreamEnd(),) * (len(columns) + 1)
    # The irregular values come last: they were sent before the rows that they belong to.
    stored = (*columns, irregular)
    answers = link.ask([_last_entry(column, end) for column, end in zip(stored, ends, strict=True)], about)
    now = tuple(
        StreamEnd.from_last(raw_entries(answer)) if answer or not _is_heavy(column) else end
        for column, end, answer in zip(stored, ends, answers, strict=True)
    )
    return Extent(
        min(end.rows for end in now[:-1]),
        now[-1].rows,
        all(end.sealed for end in now[:-1]),
        now,
    )


def _last_entry(column: StoredColumn, known: StreamEnd) -> Command:
    after = f"{known.rows}-1" if _is_heavy(column) and known.rows else "-"
    return ("XREVRANGE", column.key, "+", after, "COUNT", 1)


def _is_heavy(column: StoredColumn) -> bool:
    return (column.row_bytes or 0) > _HEAVY_ROW_BYTES
