"""Having runs put on a list while archiving goes on: the list may be slow, or away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..errors import BlissdataBlueskyError
from .run import ArchivedRun

logger = logging.getLogger(__name__)

Register: TypeAlias = Callable[[Sequence[ArchivedRun]], None]
"""Puts runs on the list of archived runs, again and again the same ones. May raise whatever it likes: it is retried."""

_RETRY_SECONDS = 10.0


class Registering:
    """Calls `register` in a thread of its own, with all runs that wait, until it has taken them."""

    def __init__(self, register: Register | None) -> None:
        self._register = register
        self._waiting: dict[str, ArchivedRun] = {}
        self._done: list[tuple[str, ArchivedRun]] = []
        self._changed = threading.Condition()
        self._closed = False
        self.failing = False
        """Whether the last attempt failed."""
        self._thread: threading.Thread | None = None

    def add(self, stem: str, run: ArchivedRun) -> None:
        """Register a run, in place of what was to be registered of it; `stem`: of its journal."""
        with self._changed:
            if self._register is None:
                self._done.append((stem, run))
                return
            self._waiting[stem] = run
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="blissdata-bluesky-registering", daemon=True)
                self._thread.start()

    def take_done(self) -> list[tuple[str, ArchivedRun]]:
        """What has been registered since the last call."""
        with self._changed:
            done, self._done = self._done, []
            return done

    @property
    def has_done(self) -> bool:
        """Whether something has been registered since `take_done` was called."""
        return bool(self._done)

    @property
    def busy(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    def close(self, timeout: float) -> None:
        """End the thread, or leave it behind after `timeout` seconds; what waits is the next archiver's."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                waiting = dict(self._waiting)
            self._try(waiting)

    def _try(self, waiting: dict[str, ArchivedRun]) -> None:
        try:
            if self._register is not None:
                self._register(list(waiting.values()))
        except Exception as error:
            # whatever is wrong with the list, archiving goes on
            if not self.failing:
                logger.error(
                    "archived runs cannot be registered, and it is tried every %.0f s; until then their journals are kept: "
                    "%s",
                    _RETRY_SECONDS,
                    error if isinstance(error, BlissdataBlueskyError) else f"{error!r}; please report this",
                )
                logger.debug("cannot be registered", exc_info=True)
            self.failing = True
            with self._changed:
                self._changed.wait_for(lambda: self._closed, _RETRY_SECONDS)
            return
        if self.failing:
            logger.warning("archived runs are registered again")
        self.failing = False
        with self._changed:
            self._done += waiting.items()
            self._waiting = {stem: run for stem, run in self._waiting.items() if waiting.get(stem) is not run}
