"""A plan under a RunEngine of its own, on a thread, so that the main thread can draw and be interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from bluesky import RunEngine
from bluesky.utils import TransitionError  # type: ignore[attr-defined]

Callback = Callable[[str, dict[str, Any]], Any]


@contextmanager
def measuring(plan: Iterator[Any], *callbacks: Callback) -> Iterator[Future[Any]]:
    """Run `plan` while the block runs; what is still going on at its end is aborted."""
    # its own handling of Ctrl-C would pause the plan
    engine = RunEngine({}, context_managers=[])
    for callback in callbacks:
        engine.subscribe(callback)
    with ThreadPoolExecutor(1, thread_name_prefix="measuring") as pool:
        future = pool.submit(engine, plan)
        try:
            yield future
        finally:
            _abort(engine, future)


def _abort(engine: RunEngine, future: Future[Any]) -> None:
    while wait([future], 0.05).not_done:
        try:
            engine.abort("the demo was ended")
        except TransitionError:
            # it has not begun yet
            continue
        return
