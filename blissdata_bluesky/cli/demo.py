"""`blissdata-bluesky demo`: the whole way of a run, on one computer, before your eyes."""

from __future__ import annotations

import signal
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from ..demo.errors import DemoDirectoryError
from ..errors import RedisServerNotFoundError
from .directories import a_directory

MODULES = ("bluesky_tiled_plugins", "fastapi", "ophyd", "pandas", "pyarrow", "tiled", "uvicorn")
DIFFERENT, MISSING, INTERRUPTED = 1, 2, 130


def demo(
    once: Annotated[bool, typer.Option("--once", help="End when the plans are done and all is checked.")] = False,
    directory: Annotated[
        Path | None,
        typer.Option(
            parser=a_directory,
            metavar="DIR",
            help="Keep journal, data, logs and catalog here; without it, nothing is kept.",
        ),
    ] = None,
) -> None:
    """Run Bluesky plans, and watch blissdata and Tiled read them while they run.

    The exit code is 1 when a reader did not get what was emitted.
    """
    if missing := [name for name in MODULES if find_spec(name) is None]:
        raise _missing(missing[0])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_once)
    try:
        healthy = _show(directory, once=once)
    except RedisServerNotFoundError:
        raise _missing("a Redis server") from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(0 if healthy else DIFFERENT)


def _show(directory: Path | None, *, once: bool) -> bool:
    with tempfile.TemporaryDirectory(prefix="blissdata-bluesky-demo-") as scratch:
        # ophyd.sim makes directories when it is imported, and leaves them
        tempfile.tempdir = scratch
        from ..demo.screen import LiveScreen, PlainScreen
        from ..demo.show import show

        home = Path(scratch) if directory is None else directory.absolute()
        _make(home)
        console = Console(highlight=False)
        return show(console, home, LiveScreen if console.is_terminal else PlainScreen, once=once)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoDirectoryError(
            f"the demo cannot keep its files in {directory} ({error.strerror}): "
            "give a directory that can be made and written to"
        ) from error


def _missing(name: str) -> typer.Exit:
    typer.echo(f'blissdata-bluesky: the demo needs {name}: pip install "blissdata-bluesky[demo]"', err=True)
    return typer.Exit(MISSING)


def _end_once(_number: int, _frame: FrameType | None) -> None:
    # what cleans up is left in peace
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
