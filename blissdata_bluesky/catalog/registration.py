"""What is registered of a run, and the rows of Tiled's tables that hold it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tiled.server.schemas import Management
from tiled.structures.core import StructureFamily

from .clean import clean_mapping

MIMETYPE = "application/x-blissdata-bluesky-run"
ARCHIVED_MIMETYPE = "application/x-blissdata-bluesky-archived-run"
ROOT_ID = 0
_RUN_SPECS = [{"name": "BlueskyRun", "version": "3.0"}]


class Registration(NamedTuple):
    """A run as it is to be registered."""

    uid: str
    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None = None
    incomplete: str = ""
    """Why nothing more will come, although the run is not whole."""
    file: str = ""
    """The run's file, relative to the root of the archive; "" for a run that has none."""

    @property
    def time(self) -> float:
        """When the run started, seconds since the epoch; 0 when its start document does not tell."""
        try:
            time = float(self.start.get("time", 0.0))
        except (TypeError, ValueError, OverflowError):
            return 0.0
        return 0.0 if math.isnan(time) else time

    @property
    def metadata(self) -> dict[str, Any]:
        """What the node of the run tells: `start`, `stop` once there is one, and `incomplete` where it applies."""
        metadata: dict[str, Any] = {"start": clean_mapping(self.start)}
        if self.stop is not None:
            metadata["stop"] = clean_mapping(self.stop)
        return metadata | ({"incomplete": self.incomplete} if self.incomplete else {})


def node_row(run: Registration) -> dict[str, Any]:
    """The row of table `nodes`."""
    return {
        "key": run.uid,
        "parent": ROOT_ID,
        "metadata_": run.metadata,
        "structure_family": StructureFamily.container,
        "specs": _RUN_SPECS,
    }


def source_row(node_id: int, run: Registration) -> dict[str, Any]:
    """The row of table `data_sources`: it says who knows what is inside."""
    return {
        "node_id": node_id,
        "structure_family": StructureFamily.container,
        **source_values(run.file),
        "properties": {},
        "management": Management.external,
    }


def source_values(file: str) -> dict[str, Any]:
    """The columns by which runs with and without a file differ."""
    return (
        {"mimetype": ARCHIVED_MIMETYPE, "parameters": {"file": file}}
        if file
        else {"mimetype": MIMETYPE, "parameters": {}}
    )
