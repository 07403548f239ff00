"""How a blissdata stream refers to frames in a detector's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .encoding import NumericEncoding, encoding_from_json

EXTERNAL_PLUGIN = "bluesky_external"
"""The blissdata plugin (entry-point group `blissdata`) that gives the frames for the references."""

REFERENCES = NumericEncoding(np.dtype("<i8"), (3,))
"""A row for each frame: which of the run's stream_resource documents, counted from 0, the index in it, the seq_num."""


def has_references(model: Mapping[str, Any]) -> bool:
    """Whether a stream, from the scan's `data_streams`, refers to frames beside the events.

    One of datum ids does not count, for it has a row for each event.
    """
    return model["info"].get("plugin") == EXTERNAL_PLUGIN and encoding_from_json(model["encoding"]) == REFERENCES
