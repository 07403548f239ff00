"""Waiting for one's turn, but not for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import RunUnavailableError


@contextmanager
def turn(lock: threading.Lock, seconds: float, about: str, place: str) -> Iterator[None]:
    """Hold `lock`, but do not queue up for ever behind others whom the source at `place` keeps waiting.

    Raises RunUnavailableError when it is not free within `seconds`.
    """
    if not lock.acquire(timeout=seconds):
        raise RunUnavailableError(f"{about}: others have been waiting for {place} for {seconds:.0f} s; try again later")
    try:
        yield
    finally:
        lock.release()
