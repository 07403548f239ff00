"""`blissdata-bluesky journal repair`: closes scans that are open and whose journal is nowhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...errors import JournalError, JournalOwnedError, RunNotFoundError
from ...journal import Fate
from ...journal.listing import ListedJournal, list_journals
from ...publish.database import connect
from ...publish.repair import OpenRun, close_run, list_open_runs
from ...writer import DEFAULT_JOURNAL
from .shown import DirectoryOption, RedisOption, publisher, shown_seconds, shown_text


def repair(
    redis: RedisOption,
    named: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Uids, or their beginnings, of runs to be closed.")
    ] = None,
    directory: DirectoryOption = DEFAULT_JOURNAL,
    idle: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Close all that were neither written nor read for so long."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """List runs that are open in Redis and have no journal here; close those that are named, or idle.

    A closed run is sealed, ends as FAILURE and is marked as incomplete. That cannot be undone: make sure that no
    writer on another computer is publishing it.
    """
    if named and idle is not None:
        raise typer.BadParameter("give runs, or --idle")
    journals = _journals(directory)
    with connect(redis, write=True) as client:
        runs = list_open_runs(client, redis)
        if named:
            chosen = [_find(runs, journals, name) for name in dict.fromkeys(named)]
            question = _doubt(chosen)
        else:
            without = [run for run in runs if run.uid not in journals]
            _list(without)
            _list_others([journals[run.uid] for run in runs if run.uid in journals], directory)
            chosen = [] if idle is None else _idle(without, idle)
            question = f"Seal and close {len(chosen)} of them?"
        if chosen and question and not yes:
            typer.confirm(question, abort=True, err=True)
        for run in chosen:
            done = close_run(client, redis, run.uid, time.time() - (run.idle or 0))
            typer.echo(f"run {run.uid} {_CLOSED if done else _NOTHING_TO_DO}")


# a living writer asks for its rows twice as often
_LIVELY_SECONDS = 10
_CLOSED = "is sealed and closed, and marked as incomplete"
_NOTHING_TO_DO = "was closed or deleted by somebody else meanwhile; nothing was done"


def _doubt(named: Sequence[OpenRun]) -> str:
    """What is asked before these are closed; nothing when nobody seems to care for them."""
    lively = [run.uid for run in named if run.idle is not None and run.idle < _LIVELY_SECONDS]
    if not lively:
        return ""
    return (
        f"{', '.join(lively)}: written or read within {_LIVELY_SECONDS} s, perhaps by a living writer on another "
        "computer. Seal and close all the same?"
    )


def _idle(runs: Sequence[OpenRun], seconds: float) -> list[OpenRun]:
    if any(run.idle is None for run in runs):
        typer.echo("blissdata-bluesky: Redis does not tell how long some are idle: name those to be closed", err=True)
    return [run for run in runs if run.idle is not None and run.idle >= seconds]


def _journals(directory: Path) -> dict[str, ListedJournal]:
    """The journal of each run that has one, the unfinished one if it has several."""
    if directory == DEFAULT_JOURNAL and not directory.exists():
        return {}
    listed = sorted(list_journals(directory), key=lambda journal: journal.fate == Fate.UNFINISHED)
    return {journal.header.uid: journal for journal in listed if journal.header}


def _find(runs: Sequence[OpenRun], journals: Mapping[str, ListedJournal], name: str) -> OpenRun:
    """The open run that is meant. Raises when it is another, none, or one that a journal can finish."""
    found = [run for run in runs if run.uid == name] or [run for run in runs if name and run.uid.startswith(name)]
    if len(found) != 1:
        reason = "more than one open run has a uid that begins with it, give more of it" if found else _NOT_OPEN
        raise RunNotFoundError(f"{name!r}: {reason}")
    journal = journals.get(found[0].uid)
    if journal is not None and journal.fate == Fate.UNFINISHED and journal.header is not None:
        if journal.owned:
            raise JournalOwnedError(f"run {found[0].uid} is being published by {publisher(journal.header)}")
        raise JournalError(
            f"run {found[0].uid} has an unfinished journal, {journal.path}: `blissdata-bluesky journal replay --all "
            f"--redis URL` finishes it, with the URL of {journal.header.target}"
        )
    return found[0]


_NOT_OPEN = "no run with such a uid is open in this Redis; `journal repair` without a run lists those that are"


def _list(runs: Sequence[OpenRun]) -> None:
    console = Console(highlight=False)
    if runs:
        table = Table("open run without a journal here", "scan", "state", box=None, pad_edge=False)
        table.add_column("rows", justify="right")
        table.add_column("idle", no_wrap=True, justify="right")
        table.columns[0].no_wrap = True
        for run in runs:
            rows = "\n".join(f"{stream} {count}" for stream, count in run.rows.items())
            idle = "unknown" if run.idle is None else shown_seconds(run.idle)
            table.add_row(
                shown_text(run.uid), shown_text(f"{run.name} #{run.number}"), run.state, shown_text(rows), idle
            )
        console.print(table)
    else:
        console.print("no run is open in Redis without a journal here")


def _list_others(journals: Sequence[ListedJournal], directory: Path) -> None:
    """Say how many open runs have a journal, and what finishes them."""
    published, left_over = sum(journal.owned for journal in journals), sum(journal.left_over for journal in journals)
    for count, what, remedy in (
        (published, "being published", "`blissdata-bluesky journal ls` shows by whom"),
        (left_over, "left over", "`blissdata-bluesky journal replay --all --redis URL` finishes them"),
        (
            len(journals) - published - left_over,
            "set aside",
            "`blissdata-bluesky journal replay RUN --redis URL` publishes one again, or says why not",
        ),
    ):
        if count:
            typer.echo(f"open runs whose journals in {directory} are {what}: {count} ({remedy})")
