"""Keeps the list of live runs equal to what is in Redis: registers what appears, updates what stops, drops what is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable
from operator import attrgetter
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from ..catalog import Catalog, Registration
from ..errors import BlissdataBlueskyError, RunUnavailableError
from ..runs import ArchivedRuns, RedisRuns, Run
from .outlived import look_for_files, without
from .watch import News, Watch

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
# how often it is looked whether the files of runs that are gone are whole
AWAITED_SECONDS = 1.0


class Follower:
    """Brings the runs of one Redis into a catalog, for as long as `run` is running.

    Archived runs stay on the list when they are gone from Redis: also those that only the list of the archiver, which
    may be another one, has as archived. One whose file is not whole yet stays until it is.

    While Redis is away the list stays as it is; when it is back, the whole of it is looked at. A run that cannot be
    registered is left out, with a warning; nothing that a run holds ends this.
    """

    def __init__(self, runs: RedisRuns, catalog: Catalog, archive: ArchivedRuns | None = None) -> None:
        self._runs = runs
        self._catalog = catalog
        self._archive = archive
        self._gone: dict[str, str] = {}
        self._look_again = 0.0
        self._task: asyncio.Task[Any] | None = None
        self._away = False
        self._left_out: set[str] = set()

    async def run(self) -> None:
        """Follow until stopped. A second call returns at once: Tiled starts the tasks of a tree twice."""
        if self._task is not None:
            return
        self._task = asyncio.current_task()
        watch = await self._begin()
        while True:
            await self._step(watch)

    async def stop(self) -> None:
        """End `run` and wait for its end. May be repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _begin(self) -> Watch:
        while True:
            try:
                return Watch(self._runs, await self._catalog.uids())
            except Exception:
                logger.exception("the list of runs cannot be read, trying again")
            await asyncio.sleep(RETRY_SECONDS)

    async def _step(self, watch: Watch) -> None:
        try:
            news = await asyncio.to_thread(watch.look)
            await self._take_over(news)
        except RunUnavailableError as error:
            self._log_away(error)
        except (BlissdataBlueskyError, SQLAlchemyError) as error:
            logger.error("the list of runs could not be brought up to date, trying again: %s", error)
        except Exception:
            # nobody would notice the end of this task: the list would just stand still
            logger.exception("the list of runs could not be brought up to date, trying again")
        else:
            if self._away:
                logger.warning("Redis is back: the list of runs goes on")
            self._away = False
            return
        watch.start_again()
        await asyncio.sleep(RETRY_SECONDS)

    async def _take_over(self, news: News) -> None:
        self._gone |= news.gone
        if news.gone or time.monotonic() > self._look_again:
            await self._let_go()
        # a run that is gone may have come again, under the same uid
        self._gone = without(self._gone, (run.uid for run in news.started))
        await self._register(map(_registration, news.started))
        for stopped in news.stopped:
            await self._leaving_out(stopped.uid, self._catalog.update(_registration(stopped)))

    async def _let_go(self) -> None:
        """Take the runs that are gone off the list; those that the archive has stay there, as archived ones."""
        found = await asyncio.to_thread(look_for_files, self._archive, self._gone)
        await self._register(found.archived)
        await self._catalog.remove(found.lost)
        self._gone = found.awaited
        self._look_again = time.monotonic() + AWAITED_SECONDS

    async def _register(self, registrations: Iterable[Registration]) -> None:
        runs = sorted(registrations, key=attrgetter("time"))
        try:
            await self._catalog.register_many(runs)
        except Exception:  # noqa: BLE001 - one by one it is seen which of them it was
            for run in runs:
                await self._leaving_out(run.uid, self._catalog.register_many([run]))

    async def _leaving_out(self, uid: str, change: Awaitable[Any]) -> None:
        """Make one change of the list, unless this run does not let itself be written. A failing database raises."""
        try:
            await change
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a run holds, the others go on
            if uid not in self._left_out:
                logger.warning("run %s is left out of the list of runs: %s", uid, error)
            self._left_out.add(uid)

    def _log_away(self, error: RunUnavailableError) -> None:
        if not self._away:
            logger.warning("the list of runs stands still: %s", error)
        self._away = True


def _registration(run: Run) -> Registration:
    return Registration(run.uid, run.start, run.stop, run.incomplete)
