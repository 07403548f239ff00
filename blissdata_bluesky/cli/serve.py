"""`blissdata-bluesky serve`: a Tiled server of the runs in one Redis, in the foreground."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import RedisUnreachableError, TiledServerError


def serve(
    redis: Annotated[str, typer.Option(help="URL of the Redis that BlissdataWriter writes to.")],
    catalog: Annotated[
        str | None, typer.Option(help="Keep the list of runs here: a file, sqlite:///… or postgresql://…")
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
        typer.Option(file_okay=False, help="Finish the runs that writers on this directory leave when they die."),
    ] = None,
) -> None:
    """Serve live Bluesky runs to Tiled clients and browsers, until Ctrl-C."""
    # heavy, and other commands do without it
    from ..tiled.server import is_loopback, make_app, new_api_key
    from .preflight import check_address, check_catalog

    if api_key is not None and not (api_key.isascii() and api_key.isalnum()):
        raise typer.BadParameter("only letters and digits", param_hint="--api-key")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        check_address(host, port)
        if catalog is not None:
            check_catalog(catalog)
        _warn_if_away(redis)
        key = api_key or new_api_key()
        app = make_app(redis, catalog, key, public=public, compress=not is_loopback(host))
        with _recovery(journal, redis):
            _run(app, host, port, "" if public else key, journal)
    except KeyboardInterrupt:
        return


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


def _run(app: Any, host: str, port: int, key: str, journal: Path | None) -> None:
    from ..tiled.server import Served

    server = Served(app, host, port, lambda at: typer.echo(_welcome(host, at, key, journal)))
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


def _welcome(host: str, port: int, key: str, journal: Path | None) -> str:
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    query = f"?api_key={key}" if key else ""
    recovers = f"\n  journal runs that dead writers leave in {journal} are finished" if journal else ""
    return f"""\
Tiled is ready
  browse  {place}/ui/browse/{query}
  read    from tiled.client import from_uri
          client = from_uri("{place}/api/v1{query}"){recovers}
Ctrl-C ends it."""
