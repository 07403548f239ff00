"""The tree that a Tiled server serves."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from ..catalog import Catalog, catalog_of
from ..connection import open_client
from ..errors import ArchiveError
from ..external import Roots
from ..runs import ArchivedRuns, JoinedRuns, RedisRuns
from .documents import register_documents
from .follower import Follower
from .formats import register_formats
from .guard import guarding_router
from .run import RunAdapters

Task = Callable[[], Awaitable[Any]]


def from_uri(
    redis: str | None = None,
    archive: str | Path | None = None,
    catalog: str | Path | None = None,
    external_roots: Iterable[str] | None = None,
) -> Any:
    """The tree of all Bluesky runs, live and archived: for `tiled serve config`, and for `tiled.server.app.build_app`.

    Parameters
    ----------
    redis
        URL of the Redis that `BlissdataWriter` writes to. It is connected to when the server has started, and may
        go away and come back. Without it, archived runs are served alone.
    archive
        Directory of archived runs, as `BlissdataWriter(archive=...)` knows it.
    catalog
        Where the list of runs is kept: a path, `sqlite:///…` or `postgresql://…`. Without it, `catalog.db` in the
        archive; without that, a temporary file.
    external_roots
        Directories where files of detectors may be read, as `DIRECTORY`, or as `THEIRS=DIRECTORY` where the detector's
        computer spells it in another way. Without it, those of the environment variable BLISSDATA_BLUESKY_ROOTS; no
        file is opened outside them.

    A configuration file needs no more than this, no `media_types` and no `specs`::

        trees:
          - path: /
            tree: blissdata_bluesky.tiled:from_uri
            args:
              redis: redis://localhost:6379
              archive: /data/runs
              external_roots: [/data/detectors, "/ioc/frames=/mnt/frames"]

    Raises ValueError when neither Redis nor archive is given, RedisURLError, ArchiveError, ExternalRootsError.
    """
    if redis is None and archive is None:
        raise ValueError("there is nothing to serve: give redis, archive or both")
    root = None if archive is None else check_archive(archive)
    roots = Roots.configured() if external_roots is None else Roots.parse(external_roots)
    live = None if redis is None else _live_runs(redis, roots)
    archived = None if root is None else ArchivedRuns(root, roots=roots)
    runs = JoinedRuns(live, archived)
    listed = Catalog(catalog if catalog is not None or root is None else catalog_of(root), RunAdapters(runs))
    follower = None if live is None else Follower(live, listed, archived)
    register_documents()
    register_formats()
    return _tree(listed, follower, [source for source in (runs, live, archived) if source is not None])


def check_archive(archive: str | Path) -> Path:
    """The absolute path of an archive's root. Raises ArchiveError unless it is a directory that can be listed."""
    root = Path(archive).absolute()
    try:
        with os.scandir(root) as entries:
            next(entries, None)
    except OSError as error:
        raise ArchiveError(
            f"the archive {root} cannot be read ({error.strerror}): give the directory that the runs' files are below, "
            "and let this user read it"
        ) from error
    return root


def _tree(listed: Catalog, follower: Follower | None, sources: Iterable[RedisRuns | ArchivedRuns | JoinedRuns]) -> Any:
    """The catalog's tree, and what the server that has it is to do beside serving it."""

    async def shutdown() -> None:
        # Tiled ends the tasks of a tree only after this, when they have lost what they work on
        if follower is not None:
            await follower.stop()
        await listed.shutdown()
        for source in sources:
            source.close()

    tree: Any = listed.tree
    tree.startup_tasks = [listed.startup]
    tree.background_tasks = [] if follower is None else [follower.run]
    tree.shutdown_tasks = [shutdown]
    tree.include_routers = [guarding_router()]
    return tree


def _live_runs(url: str, roots: Roots) -> RedisRuns:
    with open_client(url) as client:
        # takes over its settings, and connects when it needs to
        return RedisRuns(client, roots=roots)
