"""Archiving runs, alone and beside the run that goes on, and reading them again.

`python -m benchmarks.archive [--rows 10000000] [--short]` prints the tables of docs/performance.md, section "Archive".
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from . import archive_reading, documents
from .archive_writing import Alone, Beside, archive_alone, archive_beside

KEYS = 20
EVENT_RATE = 50_000.0
IMAGE_MB = documents.IMAGE_SHAPE[0] * documents.IMAGE_SHAPE[1] * 2e-6
IMAGE_RATE = 300 / IMAGE_MB
console = Console(width=150)


def main(
    rows: Annotated[int, typer.Option(help="Of the run that is read.")] = 10_000_000,
    short: Annotated[bool, typer.Option(help="A tenth of everything, once.")] = False,
    repeat: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
) -> None:
    """Print four tables."""
    scale, repeat = (10, 1) if short else (1, repeat)
    alone(scale, repeat)
    beside(scale, repeat)
    reading(rows // scale, repeat)


def alone(scale: int, repeat: int) -> None:
    """From a journal that is there, without anything else."""
    table = _table("archiving alone", "run", "events/s", "journal MB/s", "CPU", "journal", "growing", "seal", "sealed")
    kinds: list[tuple[str, int, Callable[[int], documents.Documents]]] = [
        (f"events, K = {KEYS}", 400_000, lambda events: documents.scalar_run(KEYS, events)),
        (f"event_pages of 1000, K = {KEYS}", 2_000_000, lambda events: documents.paged_run(KEYS, events)),
        ("512 x 512 uint16 images", 2000, documents.image_run),
    ]
    for name, many, run in kinds:
        events = many // scale
        with console.status(name):
            results = [archive_alone(run(events)) for _ in range(repeat)]
        result = Alone(*(median(getattr(one, part.name) for one in results) for part in fields(Alone)))
        table.add_row(
            name,
            f"{events / result.seconds:,.0f}",
            f"{result.journal / result.seconds:,.0f}",
            f"{result.cpu / result.seconds:.0%}",
            f"{result.journal:,.0f} MB",
            f"{result.growing:,.0f} MB",
            f"{result.sealing:.1f} s",
            f"{result.sealed:,.0f} MB",
        )
    console.print(table)


def beside(scale: int, repeat: int) -> None:
    """While the run goes on, at a steady rate; each as the run of `repeat` that took the median time."""
    for title, rate, seconds, run in (
        (
            f"{EVENT_RATE:,.0f} events/s, K = {KEYS}",
            EVENT_RATE,
            20,
            lambda events: documents.scalar_run(KEYS, events),
        ),
        (f"{IMAGE_RATE:,.0f} images/s, 300 MB/s", IMAGE_RATE, 10, documents.image_run),
    ):
        events = int(rate * seconds / scale)
        results: dict[str, Beside] = {}
        for name, archived in (("without archive", False), ("with archive", True)):
            with console.status(f"{title}, {name}"):
                all_of_them = [archive_beside(run(events), rate, archived=archived) for _ in range(repeat)]
            results[name] = sorted(all_of_them, key=lambda one: one.seconds)[repeat // 2]
        _print_beside(f"{title} for {seconds / scale:.0f} s", results, events)


def _print_beside(title: str, results: dict[str, Beside], events: int) -> None:
    table = _table(title, "", *results)
    lines: list[tuple[str, Callable[[Beside], str]]] = [
        ("rate that was reached", lambda one: f"{events / one.seconds:,.0f}/s"),
        ("call p50, p99, max", lambda one: ", ".join(f"{value:,.1f}" for value in one.calls) + " µs"),
        ("Redis behind, median, max", lambda one: _spread(one.publishing, "s")),
        ("archive behind, median, max", lambda one: _spread(one.bytes_behind, "MB")),
        ("archive behind, median, max", lambda one: _spread(one.seconds_behind, "s")),
        ("all in the file, complete, after the end", lambda one: f"{one.caught_up:.1f} s, {one.complete:.1f} s"),
        ("CPU of a core", lambda one: _each({name: f"{cpu / one.seconds:.0%}" for name, cpu in one.cpu.items()})),
        ("memory at most", lambda one: _each({name: f"{rss:,.0f} MB" for name, rss in one.rss.items()})),
    ]
    for name, shown in lines:
        table.add_row(name, *map(shown, results.values()))
    console.print(table)


def _spread(values: list[float], unit: str) -> str:
    return f"{median(values):.2f}, {max(values):.2f} {unit}" if values else ""


def _each(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def reading(rows: int, repeat: int) -> None:
    """The same rows through Tiled and from files."""
    with tempfile.TemporaryDirectory() as directory, console.status("reading"):
        readings = archive_reading.compare(Path(directory), rows, repeat)
    first = next(iter(readings.values()))
    table = _table(f"reading {rows:,} rows, s (CPU s)", "", *first.seconds, "server RSS")
    for name, result in readings.items():
        cells = [
            f"{median(result.seconds[question]):.2f} ({median(result.cpu[question]):.1f})"
            if question in result.seconds
            else ""
            for question in first.seconds
        ]
        table.add_row(name, *cells, f"{result.rss:,.0f} MB" if result.rss else "")
    ratios = [f"{archive_reading.ratio(readings, question):.2f} x" for question in first.seconds]
    table.add_row("ours through Tiled / the faster one of Parquet and h5py", *ratios, "")
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name != columns[0] else "left")
    return table


if __name__ == "__main__":
    typer.run(main)
