"""The demo from its first server to its last check."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..writer import BlissdataWriter
from .board import Board
from .measure import measuring
from .plans import demo_plan
from .reading import Reading
from .screen import Screen, summary, welcome
from .servers import serving

REFRESH_SECONDS = 0.1
# for the readers to come to the end of what was emitted
END_SECONDS = 30.0


def show(console: Console, directory: Path, screen: Callable[[Console, Board], Screen], *, once: bool) -> bool:
    """Start the servers in `directory`, run the plans, read them, check; whether all was read as it was emitted.

    `screen` makes what shows the runs while they go on. Not `once`: the servers go on until KeyboardInterrupt. Earlier than that, it aborts the plan and is passed on.
    """

    def step(name: str, what: str) -> None:
        console.print(f"[green]✓[/] {name:<8} [dim]{what}[/]", soft_wrap=True)

    board = Board()
    with serving(directory, step) as (redis, tiled):
        with (
            Reading(redis.url, tiled.url, directory, board) as reading,
            BlissdataWriter(redis.url, journal=directory / "journal") as writer,
        ):
            step("readers", f"a blissdata client and a Tiled client, in process {reading.pid}")
            _measure(screen(console, board), writer, reading)
        console.print("", summary(board), sep="\n", soft_wrap=True)
        if not once:
            console.print(welcome(tiled.browse_url, tiled.url, redis.url), soft_wrap=True)
            with suppress(KeyboardInterrupt):
                redis.wait()
            console.print("\nending the servers")
    return not board.differences()


def _measure(screen: Screen, writer: BlissdataWriter, reading: Reading) -> None:
    board = reading.board
    with screen, measuring(demo_plan(), board.emit, writer) as plan:
        while not plan.done():
            _watch(screen, reading)
        plan.result()
        deadline = time.monotonic() + END_SECONDS
        while not board.done() and time.monotonic() < deadline:
            _watch(screen, reading)
        screen.refresh()


def _watch(screen: Screen, reading: Reading) -> None:
    reading.check()
    screen.refresh()
    time.sleep(REFRESH_SECONDS)
