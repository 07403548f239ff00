"""The table `internal` of a stream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio.to_thread
import numpy as np
import pyarrow as pa
from fastapi import HTTPException
from tiled.server.core import NoEntry
from tiled.structures.core import StructureFamily
from tiled.structures.table import TableStructure

from ..catalog import clean_mapping
from ..protocol import Array, NumericEncoding
from ..runs import Column, Table
from .arrays import ArrayNode, ArrayRows, text_values
from .columns import arrow_array, arrow_type, is_array_node, row_bytes
from .formats import TABLE_SPEC, TablePart
from .place import Place
from .spelling import Beginning, Parts, begins, listed_as
from .viewer import current_viewer
from .window import Window

# A partition is one answer: a request costs as much as some 5 MB of data, and an answer is held in memory.
_PARTITION_BYTES = 48 * 2**20
_ALIAS = "events"
_COMPANIONS = {"seq_num": np.dtype("<i8"), "time": np.dtype("<f8")}
_TIMESTAMP = "ts_"


class TableNode:
    """`seq_num`, `time`, the keys that fit into a table, and `ts_<key>` for every key.

    Partition k holds rows k·n to (k+1)·n, whatever the length: a client with an older structure reads right rows.
    """

    structure_family = StructureFamily.table
    specs = (TABLE_SPEC,)

    def __init__(self, place: Place, window: Window, columns: Mapping[str, Column], identity: tuple[Any, ...]) -> None:
        self.node = place.node
        self.access_tags = place.access_tags
        self._place = place
        self._window = window
        self._identity = identity
        self._length = len(window)
        self._columns = {column.name: column for column in columns.values() if not is_array_node(column)}
        self._timestamps = {
            _TIMESTAMP + column.name: place
            for place, (key, column) in enumerate(window.stream.columns.items())
            if key in columns
        }
        self._row_bytes = 8 * (2 + len(columns)) + sum(map(row_bytes, self._columns.values()))
        # a power of 2: what changes the size of a row a little does not move the boundaries
        self._partition_rows = 1 << max(0, (_PARTITION_BYTES // self._row_bytes).bit_length() - 1)

    def metadata(self) -> dict[str, Any]:
        return {column.key: clean_mapping(column.data_key) for column in self._columns.values()}

    def structure(self) -> TableStructure:
        partitions = max(1, math.ceil(self._length / self._partition_rows))
        return TableStructure.from_schema(self._schema(), partitions)

    def _schema(self) -> pa.Schema:
        companions = [(name, pa.from_numpy_dtype(dtype)) for name, dtype in _COMPANIONS.items()]
        data = [(name, arrow_type(column)) for name, column in self._columns.items()]
        return pa.schema([*companions, *data, *((name, pa.float64()) for name in self._timestamps)])

    async def read(self, fields: list[str] | None = None) -> TablePart:
        """All rows of some columns, None: of all. Raises KeyError for an unknown one."""
        return await self._part(0, self._length, fields)

    async def read_partition(self, partition: int, fields: list[str] | None = None) -> TablePart:
        """The rows of one partition. Raises IndexError, KeyError."""
        start = partition * self._partition_rows
        if partition < 0 or (partition and start >= self._length):
            raise IndexError(partition)
        return await self._part(start, min(start + self._partition_rows, self._length), fields)

    async def _part(self, start: int, stop: int, fields: Sequence[str] | None) -> TablePart:
        schema = self._schema()
        names = schema.names if fields is None else list(dict.fromkeys(fields))
        for name in names:
            if name not in schema.names:
                raise KeyError(name)
        share = len(names) / len(schema.names)
        limit = current_viewer.get().bytes_limit
        if (stop - start) * self._row_bytes * share > limit:
            raise HTTPException(400, f"Response would exceed {limit}. Read it by partitions, or select columns.")
        return await anyio.to_thread.run_sync(partial(self._build, names, start, stop))

    def _build(self, names: Sequence[str], start: int, stop: int) -> TablePart:
        columns = {name: self._columns[name] for name in names if name in self._columns}
        timestamps = not self._timestamps.keys().isdisjoint(names)
        table = self._window.table([column.key for column in columns.values()], start, stop, timestamps=timestamps)
        # taken out one by one, columns of an array in rows cost five times as much
        table = replace(table, timestamps=np.asfortranarray(table.timestamps))
        arrays = [self._array(name, columns.get(name), table) for name in names]
        token = (*self._identity, start, stop, *names)
        return TablePart(pa.Table.from_arrays(arrays, names=list(names)), token)

    def _array(self, name: str, column: Column | None, table: Table) -> pa.Array:
        if column is not None:
            return arrow_array(column, table.data[column.key])
        if name in _COMPANIONS:
            return pa.array(np.asarray(getattr(table, name)))
        return pa.array(np.ascontiguousarray(table.timestamps[:, self._timestamps[name]]))

    async def lookup_adapter(self, segments: list[str]) -> Any:
        """A column as an array; `events` is an older name of the table itself. Raises NoEntry."""
        first, *rest = segments
        if first == _ALIAS and first not in self._schema().names:
            return await self.lookup_adapter(rest) if rest else self
        found = await self._find((first,))
        if rest and not isinstance(found, Beginning):
            raise NoEntry(segments)
        return await found.lookup_adapter(rest) if rest else found

    async def _find(self, parts: Parts) -> Any:
        names = self._schema().names
        name = parts[0] if len(parts) == 1 and parts[0] in names else listed_as(parts, names)
        if name is not None:
            return await anyio.to_thread.run_sync(self._column, name)
        if begins(parts, names):
            return Beginning(self._place, self._find, parts)
        raise NoEntry(list(parts))

    async def items_range(self, offset: int = 0, limit: int | None = None) -> list[tuple[str, Any]]:
        """The columns as arrays, for serializers that walk a container."""
        names = self._schema().names[offset : None if limit is None else offset + limit]
        return [(name, await self.lookup_adapter([name])) for name in names]

    def _column(self, name: str) -> ArrayNode:
        column = self._columns.get(name)
        if column is None:
            dtype = _COMPANIONS.get(name, np.dtype("<f8"))
            return self._array_node(ArrayRows(partial(self._companion, name), dtype), {})
        encoding = column.encoding
        if isinstance(encoding, NumericEncoding) and not encoding.ragged:
            rows = ArrayRows(partial(self._numbers, column.key), encoding.dtype, encoding.shape)
        else:
            read = self._window.read(column.key, 0, self._length)
            values = text_values(read, are_texts=pa.types.is_string(arrow_type(column)))
            rows = ArrayRows(lambda start, stop: values[start:stop], values.dtype)
        return self._array_node(rows, clean_mapping(column.data_key))

    def _array_node(self, rows: ArrayRows, metadata: Mapping[str, Any]) -> ArrayNode:
        return ArrayNode(self._place, rows, self._length, metadata)

    def _numbers(self, key: str, start: int, stop: int) -> Array:
        return np.asarray(self._window.read(key, start, stop))

    def _companion(self, name: str, start: int, stop: int) -> Array:
        table = self._window.table([], start, stop, timestamps=name in self._timestamps)
        return np.asarray(self._array(name, None, table))
