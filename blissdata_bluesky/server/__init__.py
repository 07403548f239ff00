"""The embedded Redis: a real server with the JSON and Search modules, for demos, tests and small set-ups."""

from .embedded import RedisServer

__all__ = ["RedisServer"]
