"""Bluesky runs through Tiled: `from_uri` is the tree for a Tiled server, `TiledServer` a whole server on loopback."""

from .server import TiledServer
from .tree import from_uri

__all__ = ["TiledServer", "from_uri"]
