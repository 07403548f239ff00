"""Draws docs/images/demo.svg, the terminal of a real demo: `python docs/images/make_demo_svg.py`."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.terminal_theme import MONOKAI

from blissdata_bluesky.demo.board import Board
from blissdata_bluesky.demo.screen import table
from blissdata_bluesky.demo.show import show

TITLE = "blissdata-bluesky demo"
PICTURE = Path(__file__).with_name("demo.svg")


class LastTable:
    """A screen that draws the table once, when the plans are done."""

    def __init__(self, console: Console, board: Board) -> None:
        self._console = console
        self._board = board

    def refresh(self) -> None:
        """Nothing is seen in between."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._console.print(table(self._board))


if __name__ == "__main__":
    console = Console(record=True, file=io.StringIO(), width=100, color_system="truecolor", highlight=False)
    with tempfile.TemporaryDirectory() as directory:
        if not show(console, Path(directory), LastTable, once=True):
            raise SystemExit(console.export_text())
    console.save_svg(str(PICTURE), title=TITLE, theme=MONOKAI)
