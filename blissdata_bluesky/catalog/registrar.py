"""Registering runs from a program that is no asyncio program."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

from sqlalchemy.exc import DBAPIError

from .catalog import BATCH, Catalog
from .faults import as_catalog_error, check_uri, shown, try_file
from .registration import Registration

_T = TypeVar("_T")
_Change: TypeAlias = Callable[[], Coroutine[Any, Any, _T]]

CONNECT_SECONDS = 15.0
_CHANGE_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
# before the second, third… try: another process may hold the database, or it may just be starting again
_PAUSES = (0.1, 0.5, 1.0)


class Registrar:
    """A catalog that runs are registered in by blocking calls, from any thread without an event loop, one at a time.

    `uri`: a path, `sqlite:///…` or `postgresql://…`. The tables are made when they are missing; the directory of a
    SQLite file is there. A context manager.

    Raises CatalogError, in which no password stands, when the database cannot be used.
    """

    def __init__(self, uri: str | Path) -> None:
        check_uri(uri)
        self._uri = uri
        self._catalog = Catalog(uri, None)
        self._runner = asyncio.Runner()
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._insist(self._open, CONNECT_SECONDS)
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        """The database as it may be shown."""
        return shown(self._uri)

    def register(self, registrations: Iterable[Registration]) -> None:
        """What `Catalog.register_many` does, in the order of the start times; when it returns, the database has it.

        Beyond 500 runs the order holds for each 500 of them, so that not all have to be in memory.

        Raises CatalogError: some of the runs may be registered then; registering them again does no harm.
        """
        waiting = iter(registrations)
        while some := list(itertools.islice(waiting, BATCH)):
            some.sort(key=attrgetter("time"))
            self._insist(partial(self._catalog.register_many, some), _CHANGE_SECONDS)

    def remove_lost(self, is_lost: Callable[[str], bool]) -> int:
        """Take the archived runs off the list whose files `is_lost` says are gone; how many there were.

        Raises CatalogError.
        """
        removed = after = 0
        while some := self._insist(partial(self._catalog.archived, after), _CHANGE_SECONDS):
            after = some[-1][0]
            lost = {uid: file for _, uid, file in some if is_lost(file)}
            if lost:
                removed += self._insist(partial(self._catalog.remove_archived, lost), _CHANGE_SECONDS)
        return removed

    def close(self) -> None:
        """Close the connections, unless another thread is registering for long. May be repeated."""
        if not self._lock.acquire(timeout=_CLOSE_SECONDS):
            return
        try:
            if not self._closed:
                self._closed = True
                # nothing is lost by a connection that cannot be closed
                with suppress(Exception):
                    self._runner.run(_limited(self._catalog.shutdown, _CLOSE_SECONDS))
                self._runner.close()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _open(self) -> None:
        try_file(self._uri)
        await self._catalog.startup()

    def _insist(self, change: _Change[_T], seconds: float) -> _T:
        """Make a change, or ask for something, again when that may help. Raises CatalogError."""
        try:
            with self._lock:
                return self._runner.run(_limited(partial(_repeated, change), seconds))
        # each driver has errors of its own, of no common class
        except Exception as error:
            raise as_catalog_error(error, self._uri) from error


async def _limited(change: _Change[_T], seconds: float) -> _T:
    async with asyncio.timeout(seconds):
        return await change()


async def _repeated(change: _Change[_T]) -> _T:
    for pause in _PAUSES:
        try:
            return await change()
        except DBAPIError as error:
            if not (error.connection_invalidated or "locked" in str(error.orig)):
                raise
        await asyncio.sleep(pause)
    return await change()
