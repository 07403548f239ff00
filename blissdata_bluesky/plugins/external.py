"""The blissdata plugin `bluesky_external`: a stream that refers to detectors' files gives the frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from blissdata.streams import BaseStream, BaseView, EventRange, StreamDefinition
from blissdata.streams.default import Stream
from blissdata.streams.hdf5_fallback.stream import Hdf5BackedStream

from ..protocol import EXTERNAL_PLUGIN, Array


class ExternalView(BaseView):
    """What a cursor has read: references, which become frames when they are asked for."""

    def __init__(self, stream: ExternalStream, references: BaseView) -> None:
        self._stream = stream
        self._references = references

    @property
    def index(self) -> int:
        return int(self._references.index)

    def __len__(self) -> int:
        return len(self._references)

    def get_data(self, start: int | None = None, stop: int | None = None) -> Array:
        """Frames `start` to `stop` of the view, (frames, *shape). Raises ExternalDataError."""
        return self._stream.frames(self._references.get_data(start, stop))


class ExternalStream(BaseStream):
    """Frames as an array (frames, *shape), read from the detector's files when they are asked for.

    The files must lie below the directories that BLISSDATA_BLUESKY_ROOTS names; `ExternalDataError` says what is wrong
    with one. Without files, everything but the frames can be read: `len`, `dtype`, `shape`, `references`.
    """

    def __init__(self, event_stream: Any) -> None:
        # what fails here is one broken stream to blissdata, what fails above is a scan that cannot be loaded
        from .frames import RunFrames

        super().__init__(event_stream)  # type: ignore[no-untyped-call]
        self.references = Hdf5BackedStream(event_stream) if "data_path" in self.info else Stream(event_stream)
        """The stream as it is in Redis: `protocol.REFERENCES`, or the ids of datums."""
        origin = self.info["bluesky"]
        self._frames = RunFrames(event_stream._data_store._redis, origin["uid"], origin["stream"], origin["key"])  # noqa: SLF001 - a plugin is given nothing else

    @property
    def kind(self) -> str:
        return "array"

    @staticmethod
    def make_definition(*_: Any, **__: Any) -> StreamDefinition:
        """Raises NotImplementedError: streams of this kind come from `BlissdataWriter`."""
        raise NotImplementedError("blissdata_bluesky.writer.BlissdataWriter publishes streams of detectors' files")

    @property
    def plugin(self) -> str:
        return EXTERNAL_PLUGIN

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._frames.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._frames.shape

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, key: int | slice) -> Array:
        """A frame, or those of a slice. Raises IndexError as blissdata does, and ExternalDataError."""
        found = self.references[key]
        return self.frames(found) if isinstance(key, slice) else self.frames([found])[0]

    def frames(self, references: Any) -> Array:
        """The frames for some references, (references, *shape). Raises ExternalDataError."""
        return self._frames.read(references)

    def _need_last_only(self, last_only: bool) -> bool:  # noqa: FBT001 - blissdata calls it so
        return bool(self.references._need_last_only(last_only))  # noqa: SLF001 - a stream wraps another

    def _build_view_from_events(self, hl_index: int, events: EventRange, last_only: bool) -> ExternalView:  # noqa: FBT001 - blissdata calls it so
        return ExternalView(self, self.references._build_view_from_events(hl_index, events, last_only))  # noqa: SLF001 - a stream wraps another


stream_cls = ExternalStream
view_cls = ExternalView
