"""The tree that a Tiled server serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ..catalog import Catalog
from ..connection import open_client
from ..errors import ArchiveNotServedError
from ..runs import RedisRuns
from .documents import register_documents
from .follower import Follower
from .formats import register_formats
from .guard import guarding_router
from .run import RunAdapters

Task = Callable[[], Awaitable[Any]]


def from_uri(redis: str, archive: str | Path | None = None, catalog: str | Path | None = None) -> Any:
    """The tree of all Bluesky runs in a Redis: for `tiled serve config`, and for `tiled.server.app.build_app`.

    Parameters
    ----------
    redis
        URL of the Redis that `BlissdataWriter` writes to. It is connected to when the server has started, and may
        go away and come back.
    archive
        Directory of archived runs: not served by this version.
    catalog
        Where the list of runs is kept: a path, `sqlite:///…` or `postgresql://…`. Without it, a temporary file.

    A configuration file needs no more than this, no `media_types` and no `specs`::

        trees:
          - path: /
            tree: blissdata_bluesky.tiled:from_uri
            args:
              redis: redis://localhost:6379

    Raises RedisURLError, ArchiveNotServedError.
    """
    if archive is not None:
        raise ArchiveNotServedError(
            "archive: this version of blissdata-bluesky serves the runs that are in Redis and no archived ones; "
            "leave `archive` out"
        )
    with open_client(redis) as client:
        # takes over its settings, and connects when it needs to
        runs = RedisRuns(client)
    listed = Catalog(catalog, RunAdapters(runs))
    follower = Follower(runs, listed)
    register_documents()
    register_formats()

    async def shutdown() -> None:
        # Tiled ends the tasks of a tree only after this, when they have lost what they work on
        await follower.stop()
        await listed.shutdown()
        runs.close()

    tree: Any = listed.tree
    tree.startup_tasks = [listed.startup]
    tree.background_tasks = [follower.run]
    tree.shutdown_tasks = [shutdown]
    tree.include_routers = [guarding_router()]
    return tree
