"""`blissdata-bluesky serve`: a Tiled server of live and archived runs, in the foreground."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..connection import redact
from ..errors import RedisUnreachableError, TiledServerError
from .directories import a_directory
from .external_root import ExternalRoots


def serve(
    redis: Annotated[str | None, typer.Option(help="URL of the Redis that BlissdataWriter writes to.")] = None,
    archive: Annotated[
        Path | None, typer.Option(parser=a_directory, metavar="DIR", help="Directory of the archived runs.")
    ] = None,
    catalog: Annotated[
        str | None,
        typer.Option(
            help="Keep the list of runs here: a file, sqlite:///… or postgresql://…; the default is catalog.db in the archive."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this computer need a wider one.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 picks a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="TILED_SINGLE_USER_API_KEY", help="Letters and digits; without it, a new key is made."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody read without a key.")] = False,
    journal: Annotated[
        Path | None,
        typer.Option(
            parser=a_directory,
            metavar="DIR",
            help="Finish the runs that writers on this directory leave when they die.",
        ),
    ] = None,
    external_root: ExternalRoots = None,
) -> None:
    """Serve live and archived Bluesky runs to Tiled clients and browsers, until Ctrl-C."""
    if redis is None and archive is None:
        raise typer.BadParameter("give --redis, --archive or both", param_hint="--redis")
    if redis is None and journal is not None:
        raise typer.BadParameter("it needs --redis, into which the runs are finished", param_hint="--journal")
    if api_key is not None and not (api_key.isascii() and api_key.isalnum()):
        raise typer.BadParameter("only letters and digits", param_hint="--api-key")
    if journal is not None and not journal.expanduser().is_dir():
        typer.echo(f"blissdata-bluesky: {journal} is new: it is empty until a writer is given it", err=True)
    try:
        # heavy, and other commands do without it
        from ..tiled.server import is_loopback, make_app, new_api_key

        tree = _checked_tree(redis, archive, catalog, host, port, external_root or None)
        key = api_key or new_api_key()
        app = make_app(tree, key, public=public, compress=not is_loopback(host))
        served = _served(redis, archive, journal, external_root)
        with _recovery(journal, redis or ""):
            _run(app, host, port, "" if public else key, served)
    except KeyboardInterrupt:
        return


def _checked_tree(
    redis: str | None, archive: Path | None, catalog: str | None, host: str, port: int, external_roots: list[str] | None
) -> Any:
    """The tree to serve, after everything was tried that it needs."""
    from ..catalog import catalog_of
    from ..tiled.tree import check_archive, from_uri
    from .preflight import check_address, check_catalog, check_mounted

    check_address(host, port)
    root = None if archive is None else check_archive(archive)
    if root is not None:
        check_mounted(root)
    kept: str | Path | None = catalog if catalog is not None or root is None else catalog_of(root)
    if kept is not None:
        check_catalog(kept)
    if redis is not None:
        _warn_if_away(redis)
    return from_uri(redis, root, kept, external_roots)


@contextmanager
def _recovery(journal: Path | None, redis: str) -> Iterator[None]:
    """Publish what dead writers leave in a directory of journals."""
    if journal is None:
        yield
        return
    from ..publish.recovery import Recovery

    recovery = Recovery(journal, redis)
    try:
        recovery.start()
        yield
    finally:
        recovery.stop()


def _run(app: Any, host: str, port: int, key: str, served: list[str]) -> None:
    from ..tiled.server import Served

    server = Served(app, host, port, lambda at: typer.echo(_welcome(host, at, key, served)))
    failed = None
    try:
        server.run()
    except SystemExit as error:
        failed = error
    if not server.started:
        raise TiledServerError(f"Tiled did not start on port {port} of {host}: the lines above say why") from failed


def _warn_if_away(url: str) -> None:
    from ..publish.database import connect

    try:
        connect(url).close()
    except RedisUnreachableError as error:
        typer.echo(f"blissdata-bluesky: {error}; runs will be listed as soon as it answers", err=True)


def _served(
    redis: str | None, archive: Path | None, journal: Path | None, external_roots: list[str] | None
) -> list[str]:
    """One line for each place that something is done with."""
    return [
        *([f"  live    runs of {redact(redis)}"] if redis else []),
        *([f"  archive runs of {archive}"] if archive else []),
        *([f"  journal runs that dead writers leave in {journal} are finished"] if journal else []),
        *(f"  files   of detectors in {root}" for root in external_roots or ()),
    ]


def _welcome(host: str, port: int, key: str, served: list[str]) -> str:
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    query = f"?api_key={key}" if key else ""
    lines = [
        "Tiled is ready",
        *served,
        f"  browse  {place}/ui/browse/{query}",
        "  read    from tiled.client import from_uri",
        f'          client = from_uri("{place}/api/v1{query}")',
        "Ctrl-C ends it.",
    ]
    return "\n".join(lines)
