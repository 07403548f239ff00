"""`blissdata-bluesky doctor`: what is right and wrong with a server and with the installed packages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..connection import open_client, redact
from ..errors import BlissdataBlueskyError
from ..protocol import SCAN_PREFIX
from ..publish.database import named_errors, refuse_other_databases
from ..publish.report import DatabaseReport, OpenScan, inspect
from ..writer import DEFAULT_JOURNAL
from .directories import a_directory
from .findings import Finding, Level, of_database, of_packages, summed_up, versions
from .journal.shown import shown_bytes, shown_seconds, shown_text
from .journal_report import Behind, JournalReport, examine, of_journals, of_scans

UID_WIDTH = 36
# not the keys of their index, which an initialisation that was broken off leaves as well
SCAN_KEYS = SCAN_PREFIX + 26 * "?"
SIGNS = {Level.OK: "[green]ok[/]", Level.WARNING: "[yellow]warning[/]", Level.ERROR: "[red]error[/]"}


def doctor(
    redis: Annotated[str | None, typer.Option(help="URL of the server to look at.", metavar="URL")] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            parser=a_directory, metavar="DIR", help="Directory of journals to look at; without it, the usual one."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what is right and wrong with a Redis server, journals and the installed packages; change nothing.

    The exit code is 1 when there is an error; warnings leave it 0.
    """
    report, found = (None, []) if redis is None else _examine(redis)
    journals, found_there = _examine_journals(journal, redis)
    found += [of_scans(report, journals)] if report else []
    found += found_there
    packages = of_packages()
    healthy = all(finding.level != Level.ERROR for finding in [*found, *packages])
    if as_json:
        typer.echo(_document(redis, healthy, [*found, *packages], report, journals))
    else:
        _show([*found, *summed_up(packages)], report.open_scans if report else (), journals.behind if journals else ())
    raise typer.Exit(0 if healthy else 1)


def _examine(url: str) -> tuple[DatabaseReport | None, list[Finding]]:
    try:
        with open_client(url) as client:
            refuse_other_databases(client, url)
            report = inspect(client, url)
            with named_errors(url):
                # blissdata finds none without its version key
                holds_scans = report.protocol is None and any(client.scan_iter(SCAN_KEYS, count=10_000))
    except BlissdataBlueskyError as error:
        return None, [Finding(Level.ERROR, "server", str(error))]
    return report, of_database(report, holds_scans=holds_scans)


def _examine_journals(wanted: Path | None, url: str | None) -> tuple[JournalReport | None, list[Finding]]:
    directory = DEFAULT_JOURNAL if wanted is None else wanted.expanduser().absolute()
    if not directory.is_dir():
        if wanted is None:
            return None, [Finding(Level.OK, "journals", f"none: there is no {directory}")]
        remedy = "give the directory that BlissdataWriter has; the first writer on it makes it"
        return None, [Finding(Level.WARNING, "journals", f"there is no {directory}", remedy)]
    try:
        report = examine(directory)
        return report, of_journals(report, url)
    except BlissdataBlueskyError as error:
        return None, [Finding(Level.ERROR, "journals", str(error))]


def _document(
    url: str | None,
    healthy: bool,
    found: list[Finding],
    report: DatabaseReport | None,
    journals: JournalReport | None,
) -> str:
    document = {
        "ok": healthy,
        "url": url and redact(url),
        "findings": [asdict(finding) for finding in found],
        "redis": report and asdict(report),
        "journal": journals and asdict(journals),
        "versions": versions(),
    }
    return json.dumps(document, indent=2)


def _show(found: list[Finding], open_scans: Sequence[OpenScan], behind: Sequence[Behind]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        message = shown_text(finding.message) + (f"\n[dim]→ {shown_text(finding.remedy)}[/]" if finding.remedy else "")
        table.add_row(SIGNS[finding.level], finding.subject, message)
    console = Console(highlight=False)
    console.print(table)
    if open_scans:
        scans = _table("uid, key", "open scan", "number", "state")
        for scan in open_scans:
            # one above the other they fit into a narrow terminal, where they can be copied
            names = f"{shown_text(scan.uid)}\n[dim]{shown_text(scan.key)}[/]"
            scans.add_row(names, shown_text(scan.name), str(scan.number), scan.state)
        console.print("", scans)
    if behind:
        runs = _table("run behind", "not sent", "oldest", "journal")
        for run in behind:
            runs.add_row(shown_text(run.uid), shown_bytes(run.unsent), shown_seconds(run.age), shown_text(run.in_words))
        console.print("", runs)


def _table(name: str, *columns: str) -> Table:
    """A table that cuts nothing, whose first column holds what is to be typed elsewhere."""
    table = Table(box=None, pad_edge=False)
    table.add_column(name, min_width=UID_WIDTH, overflow="fold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
