"""Runs the experiments and prints their figures; the exit code is 1 when a promise is broken."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from importlib import import_module

from rich.console import Console
from rich.table import Table

from .figure import Figure

EXPERIMENTS = {
    "P1": "stalls",
    "P2": "kills",
    "P3": "once",
    "P4": "emptied",
    "P5": "memory",
    "P6": "dead",
    "P7": "log",
    "P8": "torn",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("promises", nargs="*", choices=[[], *EXPERIMENTS], metavar="P1 … P8")
    parser.add_argument("--short", action="store_true", help="the sizes that the tests use")
    arguments = parser.parse_args()
    # what the writer says of the faults is counted, not shown
    logging.getLogger("blissdata_bluesky").addHandler(logging.NullHandler())
    console = Console(highlight=False)
    table = Table("", "what was done", "found", "aim", "", box=None, pad_edge=False)
    kept = True
    for promise in arguments.promises or EXPERIMENTS:
        with console.status(f"{promise}: {EXPERIMENTS[promise]}"):
            figures: Callable[[bool], list[Figure]] = import_module(f".{EXPERIMENTS[promise]}", __package__).figures
            for figure in figures(arguments.short):
                kept = kept and figure.kept
                table.add_row(
                    figure.promise, figure.what, figure.found, figure.aim, "kept" if figure.kept else "BROKEN"
                )
    console.print(table)
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
