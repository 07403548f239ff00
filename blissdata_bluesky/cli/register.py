"""`blissdata-bluesky register`: makes the catalog of an archive again, from the files alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .directories import a_directory

_UNREADABLE = 1

_Item = TypeVar("_Item")


def register(
    directory: Annotated[Path, typer.Argument(parser=a_directory, metavar="DIR", help="Root of the archive.")],
    catalog: Annotated[
        str | None, typer.Option(help="A file, sqlite:///… or postgresql://…; the default is catalog.db in DIR.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name the HDF5 files that are no archived runs.")
    ] = False,
) -> None:
    """List the runs of an archive in its catalog, by their files alone. May be repeated at any time.

    Archived runs whose files are gone are taken off the list; not off another one (--catalog) when DIR has no mark of
    an archive, as a directory below its root.
    """
    # heavy, and other commands do without it
    from ..catalog import Registrar, catalog_of
    from ..tiled.tree import check_archive
    from .archived_files import ArchivedFiles, Spool
    from .preflight import check_mounted, is_marked

    root = check_archive(directory)
    check_mounted(root)
    told = _Told(verbose)
    with Registrar(catalog_of(root) if catalog is None else catalog) as registrar, Spool() as spool:
        files = ArchivedFiles(root, told.other, told.fault)
        for run in _watched("reading", files.runs(), files.count):
            if run is not None:
                spool.put(run)
        registrar.register(_watched("listing", spool.in_order(), spool.__len__))
        # of a directory below the root, or of a copy without the mark, the list of the archive may know more
        lost = registrar.remove_lost(files.is_lost) if catalog is None or is_marked(root) else 0
        removed = f"; removed, for their files are gone: {lost}" if lost else ""
        typer.echo(f"runs listed in {registrar.place}: {len(spool)}{removed}; other files: {told.others}")
    if told.faults:
        typer.echo(f"blissdata-bluesky: the lines above say why {told.faults} could not be listed", err=True)
        raise typer.Exit(_UNREADABLE)


class _Told:
    """Says on stderr what is left out, and counts it."""

    def __init__(self, verbose: bool) -> None:
        self.others = 0
        self.faults = 0
        self._verbose = verbose

    def other(self, path: Path) -> None:
        self.others += 1
        if self._verbose:
            typer.echo(f"{path} is no archived run", err=True)

    def fault(self, message: str) -> None:
        self.faults += 1
        typer.echo(f"blissdata-bluesky: {message}", err=True)


def _watched(what: str, items: Iterable[_Item], count: Callable[[], int]) -> Iterator[_Item]:
    """The items, with a bar of progress on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield from progress.track(items, total=count(), description=what)
