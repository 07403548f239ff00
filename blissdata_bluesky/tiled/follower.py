"""Keeps the list of runs equal to what is in Redis: registers what appears, updates what stops, drops what is gone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ..catalog import Catalog, Registration
from ..errors import BlissdataBlueskyError, RunUnavailableError
from ..runs import RedisRuns
from .watch import News, Watch

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class Follower:
    """Brings the runs of one Redis into a catalog, for as long as `run` is running.

    While Redis is away the list stays as it is; when it is back, the whole of it is looked at.
    """

    def __init__(self, runs: RedisRuns, catalog: Catalog) -> None:
        self._runs = runs
        self._catalog = catalog
        self._task: asyncio.Task[Any] | None = None
        self._away = False

    async def run(self) -> None:
        """Follow until stopped. A second call returns at once: Tiled starts the tasks of a tree twice."""
        if self._task is not None:
            return
        self._task = asyncio.current_task()
        watch = Watch(self._runs, await self._catalog.uids())
        while True:
            await self._step(watch)

    async def stop(self) -> None:
        """End `run` and wait for its end. May be repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _step(self, watch: Watch) -> None:
        try:
            news = await asyncio.to_thread(watch.look)
            await self._take_over(news)
        except RunUnavailableError as error:
            self._log_away(error)
        except (BlissdataBlueskyError, SQLAlchemyError) as error:
            logger.error("the list of runs could not be brought up to date, trying again: %s", error)
        else:
            if self._away:
                logger.warning("Redis is back: the list of runs goes on")
            self._away = False
            return
        watch.start_again()
        await asyncio.sleep(RETRY_SECONDS)

    async def _take_over(self, news: News) -> None:
        # a run that is gone may have come again, under the same uid
        await self._catalog.remove(news.gone)
        runs = sorted(news.started, key=lambda run: float(run.start.get("time", 0.0)))
        await self._catalog.register_many(Registration(run.uid, run.start, run.stop) for run in runs)
        for run in news.stopped:
            if run.stop is not None:
                await self._catalog.update_stop(run.uid, run.stop)

    def _log_away(self, error: RunUnavailableError) -> None:
        if not self._away:
            logger.warning("the list of runs stands still: %s", error)
        self._away = True
