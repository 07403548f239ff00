"""A block of events as rows of the columns of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..protocol import MISSING
from .blocks import EventBlock, rows_of
from .operations import ColumnRows
from .streams import MappedStream


def columns_of(stream: MappedStream, block: EventBlock) -> tuple[tuple[ColumnRows, ...], list[dict[str, Any]]]:
    """The block's rows, and the values and timestamps that their columns cannot hold."""
    companions = {"time": block.time, "seq_num": block.seq_num, "timestamps": block.timestamps}
    columns = [
        ColumnRows(stream.companion_name(name), encoding, stream.rows, companions[name])
        for name, encoding in stream.companions.items()
    ]
    irregular: dict[tuple[int, str], dict[str, Any]] = {}

    def add(member: str, key: str, found: Mapping[int, Any]) -> None:
        for position, value in found.items():
            row = stream.rows + position
            irregular.setdefault((row, key), {"row": row, "key": key})[member] = value

    for key, values in block.data.items():
        # a key that the descriptor lacks may be in some events only
        held = {} if key in stream.columns else {i: v for i, v in enumerate(values) if v is not MISSING}
        if key in stream.columns:
            column = stream.columns[key]
            rows, held = rows_of(column.encoding, values)
            columns.append(ColumnRows(stream.stream_name(key), column.encoding, stream.rows, rows))
        add("value", key, held)
    for key, odd in block.odd_timestamps.items():
        add("timestamp", key, odd)
    # the same order however the rows are cut into blocks
    order = {key: position for position, key in enumerate(stream.keys)}
    sorted_places = sorted(irregular, key=lambda place: (place[0], order.get(place[1], len(order)), place[1]))
    return tuple(columns), [irregular[place] for place in sorted_places]
