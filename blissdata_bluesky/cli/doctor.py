"""`blissdata-bluesky doctor`: what is right and wrong with a server and with the installed packages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..connection import open_client, redact
from ..errors import BlissdataBlueskyError
from ..publish.report import DatabaseReport, OpenScan, inspect
from .findings import Finding, Level, of_database, of_packages, versions

SIGNS = {Level.OK: "[green]ok[/]", Level.WARNING: "[yellow]warning[/]", Level.ERROR: "[red]error[/]"}


def doctor(
    redis: Annotated[str | None, typer.Option(help="URL of the server to look at.", metavar="URL")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what is right and wrong with a Redis server and with the installed packages; change nothing.

    The exit code is 1 when there is an error; warnings leave it 0.
    """
    report, found = (None, []) if redis is None else _examine(redis)
    found += of_packages()
    healthy = all(finding.level != Level.ERROR for finding in found)
    if as_json:
        typer.echo(_document(redis, healthy, found, report))
    else:
        _show(found, report.open_scans if report else ())
    raise typer.Exit(0 if healthy else 1)


def _examine(url: str) -> tuple[DatabaseReport | None, list[Finding]]:
    try:
        with open_client(url) as client:
            report = inspect(client, url)
    except BlissdataBlueskyError as error:
        return None, [Finding(Level.ERROR, "server", str(error))]
    return report, of_database(report)


def _document(url: str | None, healthy: bool, found: list[Finding], report: DatabaseReport | None) -> str:
    document = {
        "ok": healthy,
        "url": url and redact(url),
        "findings": [asdict(finding) for finding in found],
        "redis": report and asdict(report),
        "versions": versions(),
    }
    return json.dumps(document, indent=2)


def _show(found: list[Finding], open_scans: Sequence[OpenScan]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in found:
        message = escape(finding.message) + (f"\n[dim]→ {escape(finding.remedy)}[/]" if finding.remedy else "")
        table.add_row(SIGNS[finding.level], finding.subject, message)
    console = Console(highlight=False)
    console.print(table)
    if open_scans:
        scans = Table("open scan", "number", "state", "uid", "key", box=None, pad_edge=False)
        for scan in open_scans:
            scans.add_row(escape(scan.name), str(scan.number), scan.state, escape(scan.uid), escape(scan.key))
        console.print("", scans)
