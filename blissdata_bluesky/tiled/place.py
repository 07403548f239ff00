"""Where an adapter stands in the tree."""

from __future__ import annotations

from typing import Any

from tiled.access_control.protocols import normalize_access_tags


class Place:
    """The catalog's node of an adapter's run, whose access tags hold for everything inside."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.access_tags = normalize_access_tags(tag.name for tag in node.access_tags)
