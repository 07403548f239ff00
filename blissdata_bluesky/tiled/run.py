"""A run and its streams as Tiled containers, in the layout of bluesky-tiled-plugins' TiledWriter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import anyio.to_thread
import numpy as np
from tiled.structures.core import Spec
from tiled.utils import BrokenLink

from ..catalog import clean_mapping
from ..errors import RunNotFoundError
from ..names import escape
from ..protocol import NumericEncoding
from ..runs import Column, Document, Run, RunSource, RunStream
from .arrays import ArrayNode, ArrayRows
from .columns import is_array_node
from .containers import Container
from .frames import FrameNodes, count_rows
from .pins import Pins
from .place import Place
from .table import TableNode
from .viewer import current_viewer
from .window import Window

RUN_SPECS = (Spec("BlueskyRun", "3.0"),)
STREAM_SPECS = (Spec("BlueskyEventStream", "3.0"), Spec("composite"))
TABLE = "internal"
# what the client fills in again (bluesky_tiled_plugins.exporters.build_descriptor_docs)
_IMPLIED = frozenset({"name", "object_keys", "run_start"})


class RunAdapters:
    """Makes adapters of runs for the catalog's nodes."""

    def __init__(self, source: RunSource) -> None:
        self._source = source
        self._pins = Pins()

    def from_catalog(self, _data_source: Any, node: Any, /, file: str = "", **_: Any) -> RunContainer:
        """The inside of the run whose uid is the node's key, as it is now. It waits for the source.

        `file`: where the file of an archived run is, relative to the root of the archive.

        Raises RunNotFoundError (404), BrokenLink for an archived run whose file is gone (410), RunUnavailableError
        (503), DamagedRunError (422).
        """
        try:
            run = self._source.get(node.key, file)
        except RunNotFoundError as error:
            if not file:
                raise
            raise BrokenLink(str(error)) from error
        return RunContainer(Place(node), run, self._pins)


class RunContainer(Container):
    """The streams of a run."""

    def __init__(self, place: Place, run: Run, pins: Pins) -> None:
        stop = {} if run.stop is None else {"stop": clean_mapping(run.stop)}
        super().__init__(place, {"start": clean_mapping(run.start), **stop}, RUN_SPECS)
        self._run = run
        self._pins = pins

    async def children(self) -> Mapping[str, Any]:
        return {
            escape(name): StreamContainer(self.place, self._run, stream, self._pins)
            for name, stream in self._run.streams.items()
        }

    async def lookup_adapter(self, segments: list[str]) -> Any:
        found = await super().lookup_adapter(segments)
        # Tiled comes here on the way to what is in the stream, too
        if isinstance(found, StreamContainer) and current_viewer.get().path[-2:] == (self._run.uid, *segments):
            found.look_anew()
        return found

    def documents(self) -> Iterator[tuple[str, Document]]:
        """All documents so far; see `Run.documents`."""
        return self._run.documents()


class StreamContainer(Container):
    """One stream: the table `internal`, and an array node for each key that does not fit into a table.

    A stream that has frames in files and nothing else, as a flyer's, has no table. A key of which the documents do not
    say what its frames are is not listed; asked for, it says why. No file is opened for what is listed.
    """

    def __init__(self, place: Place, run: Run, stream: RunStream, pins: Pins) -> None:
        super().__init__(place, _stream_metadata(stream.descriptors), STREAM_SPECS)
        self._run = run
        self._stream = stream
        self._pins = pins
        self._identity = (run.uid, stream.name)

    def look_anew(self) -> None:
        """Somebody has come to the stream, and not to what is in it."""
        self._pins.drop(current_viewer.get(), self._identity)

    async def children(self) -> Mapping[str, Any]:
        return await anyio.to_thread.run_sync(partial(self._look, None))

    async def child(self, name: str) -> Any:
        return (await anyio.to_thread.run_sync(partial(self._look, name))).get(name)

    async def exact_len(self) -> int:
        """The number of children. Without searches and files it is known without looking at the rows."""
        if self._queries or self._stream.external:
            return await super().exact_len()
        return 1 + sum(map(is_array_node, self._stream.columns.values()))

    def _look(self, only: str | None) -> dict[str, Any]:
        # columns are settled by the first row: so rows come first
        counts = self._pins.rows(current_viewer.get(), self._identity, partial(count_rows, self._run, self._stream))
        window = Window(self._stream, counts.events)
        columns = window.columns
        found: dict[str, Any] = {}
        if only in (None, TABLE) and (counts.events or columns or not any(counts.frames.values())):
            found[TABLE] = TableNode(self.place, window, columns, (*self._identity, counts.events))
        dims = internal_dims(columns)
        for key, column_dims in dims.items():
            if only in (None, columns[key].name):
                found[columns[key].name] = _array_node(self.place, window, columns[key], column_dims)
        names = {column.name for column in columns.values()}
        return found | FrameNodes(self.place, self._run, window, counts).nodes(only, names)


def internal_dims(columns: Mapping[str, Column]) -> dict[str, tuple[str, ...]]:
    """Keys of array nodes with the names of their dimensions.

    As TiledWriter names them: `time`, then one name for every size, which all arrays of the stream share.
    """
    names: dict[int, str] = {}
    found = {}
    for key, column in columns.items():
        if is_array_node(column) and isinstance(column.encoding, NumericEncoding):
            sizes = column.encoding.shape
            found[key] = ("time", *(names.setdefault(size, f"dim_int_{len(names) + 1}") for size in sizes))
    return found


def _array_node(place: Place, window: Window, column: Column, dims: tuple[str, ...]) -> ArrayNode:
    encoding = column.encoding
    if not isinstance(encoding, NumericEncoding):
        raise TypeError(f"{column.key} has no dtype")
    rows = ArrayRows(
        lambda start, stop: np.asarray(window.read(column.key, start, stop)), encoding.dtype, encoding.shape
    )
    metadata = clean_mapping(column.data_key) | {"dtype_numpy": encoding.dtype.str}
    return ArrayNode(place, rows, len(window), metadata, dims)


def _stream_metadata(descriptors: Any) -> dict[str, Any]:
    first, *others = descriptors
    metadata = {key: value for key, value in first.items() if key not in _IMPLIED}
    if others:
        metadata["_config_updates"] = [_config_update(other, first) for other in others]
    return clean_mapping(metadata)


def _config_update(descriptor: Document, first: Document) -> dict[str, Any]:
    """What a further descriptor changes. The client fails on devices that the first one lacks."""
    devices = {device for device, _ in _devices(first)}
    configuration = {device: values for device, values in _devices(descriptor) if device in devices}
    return {key: descriptor[key] for key in ("uid", "time") if key in descriptor} | {"configuration": configuration}


def _devices(descriptor: Document) -> Iterable[tuple[str, Any]]:
    configuration = descriptor.get("configuration")
    return configuration.items() if isinstance(configuration, Mapping) else ()
