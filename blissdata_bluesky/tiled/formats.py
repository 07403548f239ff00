"""Rows of a table on their way into a response: Arrow goes out as it is, other formats by way of pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from tiled.media_type_registration import default_serialization_registry
from tiled.structures.core import Spec, StructureFamily
from tiled.utils import APACHE_ARROW_FILE_MIME_TYPE

TABLE_SPEC = Spec("BlissdataTable", "1.0")
# Tiled's HDF5 writer is registered for tables, and fails on them
_UNFIT = frozenset({APACHE_ARROW_FILE_MIME_TYPE, "application/x-hdf5"})


class TablePart:
    """Some columns and rows. `token` names them: equal tokens, equal contents."""

    def __init__(self, table: pa.Table, token: tuple[Any, ...]) -> None:
        self.table = table
        self._token = token

    def memory_usage(self) -> np.ndarray[Any, Any]:
        """Bytes per column, as pandas has it."""
        return np.array([column.nbytes for column in self.table.itercolumns()], np.int64)

    def to_pandas(self) -> pd.DataFrame:
        """The same for people and for formats that pandas writes."""
        frame: pd.DataFrame = self.table.to_pandas()
        for name, column in zip(self.table.column_names, self.table.itercolumns(), strict=True):
            if pa.types.is_list(column.type):
                frame[name] = column.to_pylist()
        return frame

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        # Tiled makes the ETag of this; otherwise it would hash, or pickle, all the rows
        return self._token


def write_arrow(_mimetype: str, part: TablePart, _metadata: dict[str, Any]) -> memoryview:
    """An Arrow IPC file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, part.table.schema) as writer:
        writer.write_table(part.table)
    return memoryview(sink.getvalue())


def register_formats() -> None:
    """Let every Tiled server of this process write `TablePart`s, in each format that it has for tables."""
    registry = default_serialization_registry
    registry.register(TABLE_SPEC.name, APACHE_ARROW_FILE_MIME_TYPE, write_arrow)
    for media_type in set(registry.media_types(StructureFamily.table)) - _UNFIT:
        registry.register(
            TABLE_SPEC.name, media_type, _through_pandas(registry.dispatch(StructureFamily.table, media_type))
        )


def _through_pandas(write: Any) -> Any:
    def through_pandas(mimetype: str, part: TablePart, metadata: dict[str, Any]) -> Any:
        return write(mimetype, part.to_pandas(), metadata)

    return through_pandas
