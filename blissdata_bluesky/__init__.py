"""Bluesky runs as blissdata scans in Redis, and both of them through Tiled."""

__version__ = "0.1.0"
