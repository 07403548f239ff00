"""Bluesky runs as blissdata scans in Redis, and both of them through Tiled."""

from ._version import __version__
from .writer import BlissdataWriter, WriterStatistics

__all__ = ["BlissdataWriter", "WriterStatistics", "__version__"]
