"""`blissdata-bluesky journal ls`: what is in a directory of journals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ...journal.listing import ListedJournal, list_journals
from ...writer import DEFAULT_JOURNAL
from .shown import DirectoryOption, in_words, short_uids, shown_bytes, shown_text, shown_time, start_document

# from here on the whole uid fits
_WIDE = 120


def ls(
    directory: DirectoryOption = DEFAULT_JOURNAL,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the journals: whose they are, what has become of them, and how much of each is not sent yet."""
    journals = list_journals(directory)
    if as_json:
        typer.echo(json.dumps([_members(journal) for journal in journals], indent=2))
    elif journals:
        _show(journals)
    else:
        typer.echo(f"no journals in {directory}")


def _members(journal: ListedJournal) -> dict[str, Any]:
    start, header = start_document(journal), journal.header
    return {
        "uid": header and header.uid,
        "plan_name": _text(start.get("plan_name")),
        "scan_id": start.get("scan_id") if isinstance(start.get("scan_id"), int) else None,
        "began": header and header.created,
        "path": str(journal.path),
        "size": journal.size,
        "unsent": journal.unsent,
        "fate": journal.fate.name.lower(),
        "owned": journal.owned,
        "owner": header and header.owner,
        "target": header and header.target,
        "in_words": in_words(journal),
    }


def _show(journals: Sequence[ListedJournal]) -> None:
    console = Console(highlight=False)
    short = short_uids(journal.header.uid for journal in journals if journal.header)
    table = Table("run", box=None, pad_edge=False)
    table.add_column("scan", overflow="fold")
    table.add_column("began")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("not sent", justify="right", no_wrap=True)
    table.add_column("state", ratio=1, overflow="fold")
    for column in (0, 2):
        table.columns[column].no_wrap = True
    targets = {journal.header.target for journal in journals if journal.header}
    for journal in journals:
        words = in_words(journal)
        if len(targets) > 1 and journal.header:
            words += f"\nfor {journal.header.target}"
        uid = journal.header.uid if journal.header else ""
        table.add_row(
            shown_text(uid if console.width >= _WIDE else short.get(uid, "")) or "?",
            shown_text(_scan(journal)),
            shown_time(journal.header.created if journal.header else journal.modified)[5:16],
            shown_bytes(journal.size),
            shown_bytes(journal.unsent),
            shown_text(words),
        )
    console.print(table)
    place = str(journals[0].path.parent)
    where = f"in {place}" + (f", for {targets.pop()}" if len(targets) == 1 else "")
    console.print(f"\n{shown_text(where)}", soft_wrap=True)


def _scan(journal: ListedJournal) -> str:
    if journal.header is None:
        return journal.path.name
    start = start_document(journal)
    if not start:
        return "no start document"
    number = start.get("scan_id")
    return (_text(start.get("plan_name")) or "run") + (f" #{number}" if isinstance(number, int) else "")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
