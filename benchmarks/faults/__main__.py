"""Runs the experiments and prints their figures; the exit code is 1 when a promise is broken."""

from __future__ import annotations

import argparse
import logging
from importlib import import_module

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .figure import Figure

EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "P1": ("stalls", "slow", "endings"),
    "P2": ("kills",),
    "P3": ("once",),
    "P4": ("emptied",),
    "P5": ("memory",),
    "P6": ("dead",),
    "P7": ("log",),
    "P8": ("torn",),
    "A1": ("archive",),
}
PROMISES = {
    "P1": "Redis never stalls a scan; flush, close and exit end in time",
    "P2": "what was given survives the death of the process",
    "P3": "each row exactly once",
    "P4": "a Redis that loses a run gets it again",
    "P5": "memory is bounded, however long an outage lasts",
    "P6": "a damaged run never looks complete",
    "P7": "two lines in the log for an outage",
    "P8": "a damaged journal loads up to the last whole record",
    "A1": "an archiver that is killed loses nothing, and its file can be read",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("promises", nargs="*", choices=[[], *EXPERIMENTS], metavar="P1 … P8, A1")
    parser.add_argument("--short", action="store_true", help="the sizes that the tests use")
    arguments = parser.parse_args()
    # what the writer says of the faults is counted, not shown
    logging.getLogger("blissdata_bluesky").addHandler(logging.NullHandler())
    console = Console(highlight=False)
    kept = [_show(console, promise, short=arguments.short) for promise in arguments.promises or EXPERIMENTS]
    return 0 if all(kept) else 1


def _show(console: Console, promise: str, *, short: bool) -> bool:
    """Print what the experiments of one promise found; whether it is kept."""
    found: list[Figure] = []
    for name in EXPERIMENTS[promise]:
        with console.status(f"{promise}: {name}"):
            found += import_module(f".{name}", __package__).figures(short)
    table = Table("what was done", "found", "aim", "", box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    for column, ratio in zip(table.columns, (5, 3, 3), strict=False):
        column.ratio = ratio
    table.columns[-1].no_wrap = True
    for figure in found:
        table.add_row(
            Text(figure.what), Text(figure.found), figure.aim, "[green]kept[/]" if figure.kept else "[red]BROKEN[/]"
        )
    console.rule(f"[bold]{promise}  {PROMISES[promise]}[/]", align="left", style="dim")
    console.print(table, "")
    return all(figure.kept for figure in found)


if __name__ == "__main__":
    raise SystemExit(main())
