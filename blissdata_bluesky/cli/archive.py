"""`blissdata-bluesky archive`: writes the runs of a directory of journals into NeXus files, in the foreground."""

from __future__ import annotations

import logging
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import JournalError
from ..telling import Teller
from ..writer import DEFAULT_JOURNAL
from .directories import a_directory
from .external_root import ExternalRoots
from .words import counted

LEFT = 1
_ONCE_SECONDS = 60.0

if TYPE_CHECKING:
    from ..archive.registering import Register
    from ..archive.run import ArchivedRun
    from ..catalog.registrar import Registrar
    from .known_catalog import KnownCatalog


def archive(
    root: Annotated[
        Path, typer.Option(parser=a_directory, metavar="DIR", help="Directory of the archive, as the writers name it.")
    ],
    journal: Annotated[
        Path, typer.Option(parser=a_directory, metavar="DIR", help="Directory of the journals, as the writers name it.")
    ] = DEFAULT_JOURNAL,
    catalog: Annotated[
        str | None,
        typer.Option(
            help="List of the runs: a file, sqlite:///… or postgresql://…; without it, the one that was given last, or ROOT/catalog.db."
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when all that has ended is archived.")] = False,
    external_root: ExternalRoots = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> None:
    """Archive runs while they go on: one NeXus/HDF5 file each, until Ctrl-C.

    With --once, the exit code is 1 when something is left, whose journals are needed.
    """
    # heavy, and other commands do without it
    from ..archive.lock import Patience
    from ..archive.service import Archiver
    from ..external import Roots

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # an exception might be raised where Python ignores it
        signal.signal(number, lambda *_: stop.set())
    directory = journal.expanduser().absolute()
    is_new = not directory.is_dir()
    if once and is_new:
        raise JournalError(f"there is no directory of journals {directory}: give the one that the writers have")
    tell = Teller(typer.echo, "what is archived cannot be printed; it is archived and listed all the same")
    with _registering(directory, root, catalog, tell) as register:
        # one that a writer has started may be about to end
        patience = Patience(_ONCE_SECONDS, stop) if once else None
        roots = Roots.parse(external_root) if external_root else None
        archiver = Archiver(directory, root, register, patience, external_roots=roots)
        if catalog is not None and register is not None:
            _known(directory, root).write(catalog)
        tell(f"archiving {journal} in {archiver.root}{'' if once else '; Ctrl-C ends it'}")
        if is_new:
            tell(f"{directory} is new: it is empty until a writer is given it")
        archiver.run(_wanted(once=once, until_eof=until_eof), stop)
        if once:
            _say_what_is_left(archiver.left, directory, tell, interrupted=stop.is_set())


def _say_what_is_left(left: int, journal: Path, tell: Teller, *, interrupted: bool) -> None:
    if not left:
        tell("nothing is left to be done now")
        return
    why = "for it was interrupted" if interrupted else "the lines above say why"
    typer.echo(
        f"blissdata-bluesky: {counted(left, 'run')} not wholly archived, {why}: what {journal} has of them is needed",
        err=True,
    )
    raise typer.Exit(LEFT)


def _wanted(*, once: bool, until_eof: bool) -> Callable[[], bool]:
    if once:
        return lambda: False
    return (lambda: not _at_end(sys.stdin)) if until_eof else (lambda: True)


def _at_end(pipe: Any) -> bool:
    """Whether nobody holds the other end of a pipe that nobody writes to."""
    return bool(select.select([pipe], [], [], 0)[0])


def _known(journal: Path, root: Path) -> KnownCatalog:
    # it imports Tiled
    from .known_catalog import KnownCatalog

    return KnownCatalog(journal, root)


@contextmanager
def _registering(journal: Path, root: Path, catalog: str | None, tell: Teller) -> Iterator[Register | None]:
    """What puts runs on the list, and says so; None without Tiled. Raises CatalogError when the wanted one fails."""
    missing = [package for package in ("tiled", "sqlalchemy") if find_spec(package) is None]
    if missing:
        typer.echo(
            f"blissdata-bluesky: runs are archived and not put on the list, for {missing[0]} is not installed; "
            "`blissdata-bluesky register` does it where it is",
            err=True,
        )
        yield None
        return
    registrars: list[Registrar] = []

    def register(runs: Sequence[ArchivedRun]) -> None:
        # they take seconds to import, in which rows can be written
        from ..catalog import Registration
        from ..catalog.registrar import Registrar

        if not registrars:
            registrars.append(Registrar(_known(journal, root).read() if catalog is None else catalog))
        registrars[0].register(Registration(run.uid, run.start, run.stop, run.incomplete, run.file) for run in runs)
        for run in runs:
            if run.complete:
                tell(f"{run.uid}  {run.file}{'  incomplete: ' + run.incomplete if run.incomplete else ''}")

    try:
        if catalog is not None:
            register([])
        yield register
    finally:
        for registrar in registrars:
            registrar.close()
