"""Bluesky runs as blissdata scans in Redis, and both of them through Tiled."""

from .writer import BlissdataWriter, WriterStatistics

__all__ = ["BlissdataWriter", "WriterStatistics", "__version__"]

__version__ = "0.1.0"
