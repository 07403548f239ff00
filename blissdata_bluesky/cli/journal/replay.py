"""`blissdata-bluesky journal replay`: runs once more from their journals to Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ...connection import redact, target
from ...journal import Fate
from ...journal.listing import ListedJournal, find_journal, list_journals
from ...publish import recover
from ...publish import replay as publish_again
from ...publish.database import connect
from ...writer import DEFAULT_JOURNAL
from ..words import counted
from .shown import DirectoryOption, RedisOption, shown_bytes

NOT_PUBLISHED, INTERRUPTED = 1, 130
# how the sentences of `replay` and `recover` are told from the rest of the log
RESULTS = ("left behind by a process that is gone", "Redis has all of it already", "there is nothing to publish")


def replay(
    redis: RedisOption,
    run: Annotated[
        str | None, typer.Argument(help="The run's uid, the beginning of it, or the path of its journal.")
    ] = None,
    left_over: Annotated[bool, typer.Option("--all", help="Publish all that nobody publishes any more.")] = False,
    directory: DirectoryOption = DEFAULT_JOURNAL,
) -> None:
    """Publish one run again from its journal, also when its scan was deleted; or with --all what is left over.

    What Redis has already does not come twice. The exit code is 1 when a run could not be published.
    """
    if (run is None) is not left_over:
        raise typer.BadParameter("give a run, or --all")
    # nobody waits here for a server that is away
    connect(redis, write=True).close()
    try:
        done = _replay_all(directory, redis) if run is None else _replay(find_journal(directory, run), redis)
    except KeyboardInterrupt:
        typer.echo("blissdata-bluesky: interrupted; what is not published yet stays in its journal", err=True)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(0 if done else NOT_PUBLISHED)


def _replay(journal: ListedJournal, url: str) -> bool:
    uid = journal.header.uid if journal.header else ""
    with _progress(f"publishing run {uid} ({shown_bytes(journal.size)})"):
        sentences = publish_again(journal.path, url)
    done = bool(sentences) and not journal.path.with_suffix(Fate.ABANDONED).exists()
    _say(sentences)
    return done


def _replay_all(directory: Path, url: str) -> bool:
    journals = [journal for journal in list_journals(directory) if journal.left_over]
    others = {journal.header.target for journal in journals if journal.header} - {target(url)}
    ours = [journal for journal in journals if journal.header and journal.header.target not in others]
    with _progress(f"publishing {counted(len(ours), 'run')} to {redact(url)}"):
        sentences = recover(directory, url)
    _say(sentences or [f"nothing is left over in {directory} for {target(url)}"])
    for place in sorted(others):
        typer.echo(f"blissdata-bluesky: other runs are left over for {place}: give its URL as --redis", err=True)
    return not any(journal.path.with_suffix(Fate.ABANDONED).exists() for journal in ours)


def _say(sentences: list[str]) -> None:
    for sentence in sentences:
        typer.echo(sentence)


@contextmanager
def _progress(doing: str) -> Iterator[None]:
    """Show on stderr that something is done, and what the log tells meanwhile."""
    console = Console(stderr=True, highlight=False)
    handler = _Shown(console)
    logger = logging.getLogger("blissdata_bluesky")
    logger.addHandler(handler)
    try:
        if console.is_terminal:
            with console.status(escape(doing)):
                yield
        else:
            yield
    finally:
        logger.removeHandler(handler)


class _Shown(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        # the result is printed at the end
        if not any(words in message for words in RESULTS):
            self._console.print(f"blissdata-bluesky: {message}", markup=False, soft_wrap=True)
