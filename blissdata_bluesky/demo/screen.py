"""What the demo shows: a table that follows the runs, the summary of the checks, and how to go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol, Self

from rich.console import Console, ConsoleRenderable, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .board import BLISSDATA, READERS, Board, RunOnBoard
from .tally import Tally

PLAIN_SECONDS = 1.0
BAR_WIDTH = 16
STATES = {
    "CREATED": "yellow",
    "PREPARED": "yellow",
    "STARTED": "cyan",
    "STOPPED": "green",
    "CLOSED": "green",
}


class Screen(Protocol):
    """Shows a board; entered while plans run."""

    def refresh(self) -> None:
        """Show what has changed."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class LiveScreen:
    """A table that is drawn again in place: for terminals."""

    def __init__(self, console: Console, board: Board) -> None:
        self._board = board
        self._live = Live(console=console, auto_refresh=False)

    def refresh(self) -> None:
        """Draw the table again."""
        self._live.update(table(self._board), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class PlainScreen:
    """A line for each stream that has grown, once a second: for files and pipes."""

    def __init__(self, console: Console, board: Board) -> None:
        self._console = console
        self._board = board
        self._shown: set[str] = set()
        self._next = 0.0

    def refresh(self) -> None:
        """Print lines that were not printed before, when a second is over."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            self._print()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._print()

    def _print(self) -> None:
        with self._board.lock:
            lines = [line for run in self._board.runs.values() for line in _lines(run)]
        for line in lines:
            if line not in self._shown:
                self._shown.add(line)
                self._console.print(line, soft_wrap=True)


def table(board: Board) -> ConsoleRenderable:
    """The runs on the board, a row for each stream."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    # wide enough from the beginning: nothing moves when rows are added
    for title, width in (("\nrun", 3), ("\nplan", 9), ("\nstream", 8), ("", BAR_WIDTH)):
        shown.add_column(title, min_width=width)
    shown.add_column("rows\nemitted", justify="right")
    for reader in READERS:
        shown.add_column(f"read by\n{reader}", justify="right")
        shown.add_column("\nlag", justify="right", min_width=7)
    shown.add_column("\nstate", min_width=8)
    with board.lock:
        for run in board.runs.values():
            for index, row in enumerate(_rows(run)):
                first: tuple[RenderableType, ...] = (str(run.number), run.plan) if index == 0 else ("", "")
                shown.add_row(*first, *row, _state(run) if index == 0 else "")
    return Padding(shown, (1, 0, 0, 0))


def summary(board: Board) -> ConsoleRenderable:
    """What was checked, in one line, or all that differs."""
    if differences := board.differences():
        return Text("\n".join(["The readers differ from what was emitted:", *differences]), style="red")
    with board.lock:
        streams = [stream for run in board.runs.values() for stream in run.emitted.streams.values()]
        text = (
            f"✓ {len(board.runs)} runs, {len(streams)} streams, {sum(stream.rows for stream in streams)} rows: "
            "emitted = read by blissdata = read by Tiled\n"
            f"✓ the values of all {sum(len(stream.counts) for stream in streams)} columns agree too"
        )
    return Text(text, style="green")


def welcome(browse: str, tiled: str, redis: str) -> Text:
    """How to go on, while the servers run."""
    text = Text(f"""
The servers go on. Browse the runs at
  {browse}
In a notebook, with Tiled
  from tiled.client import from_uri
  client = from_uri("{tiled}")
  client[-1]["primary"].read()          # xarray; client[2] is the grid scan
or with blissdata
  from blissdata.redis_engine.store import DataStore
  store = DataStore("{redis}")
  scan = store.load_scan(store.get_last_scan()[1])
  scan.streams["primary:camera"][:]     # numpy
Publish runs of your own
  from blissdata_bluesky import BlissdataWriter
  RE.subscribe(BlissdataWriter("{redis}"))
Look into the server, and read on
  blissdata-bluesky doctor --redis {redis}
  https://bliss.gitlab-pages.esrf.fr/blissdata   https://blueskyproject.io/tiled
Ctrl-C ends it.""")
    text.highlight_regex(r"(?m)^\S.*$", "bold")
    return text


def _rows(run: RunOnBoard) -> Iterator[tuple[RenderableType, ...]]:
    for name, emitted in sorted(run.emitted.streams.items(), key=lambda item: item[0] != "primary"):
        yield name, _bar(run, name, emitted), str(emitted.rows), *_cells(run, name, emitted)


def _cells(run: RunOnBoard, name: str, emitted: Tally) -> Iterator[RenderableType]:
    for reader in READERS:
        tally = run.read[reader].streams.get(name, Tally())
        yield Text(str(tally.rows), style="green" if tally.rows == emitted.rows and run.emitted.done else "")
        yield Text(_seconds(tally.lag), style="dim")


def _bar(run: RunOnBoard, name: str, emitted: Tally) -> RenderableType:
    if name != "primary":
        return ""
    return ProgressBar(
        run.points, emitted.rows, width=BAR_WIDTH, style="grey30", complete_style="cyan", finished_style="green"
    )


def _state(run: RunOnBoard) -> Text:
    state = run.read[BLISSDATA].state
    return Text(state, style=STATES.get(state, ""))


def _seconds(lag: float | None) -> str:
    if lag is None:
        return ""
    return f"{lag * 1e3:.1f} ms" if lag < 0.01 else f"{lag * 1e3:.0f} ms"


def _lines(run: RunOnBoard) -> Iterator[str]:
    for name, emitted in run.emitted.streams.items():
        read = ", ".join(f"{run.read[reader].streams.get(name, Tally()).rows} by {reader}" for reader in READERS)
        state = run.read[BLISSDATA].state
        yield f"run {run.number} {run.plan} {name}: {emitted.rows} rows emitted, read: {read}; {state}"
