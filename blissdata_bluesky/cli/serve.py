"""`blissdata-bluesky serve`: a Tiled server of the runs in one Redis, in the foreground."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from ..errors import RedisUnreachableError


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
) -> None:
    """Serve live Bluesky runs to Tiled clients and browsers, until Ctrl-C."""
    # heavy, and other commands do without it
    from ..tiled.server import Served, is_loopback, make_app, new_api_key

    if api_key is not None and not (api_key.isascii() and api_key.isalnum()):
        raise typer.BadParameter("only letters and digits", param_hint="--api-key")
    _warn_if_away(redis)
    key = api_key or new_api_key()
    app = make_app(redis, catalog, key, public=public, compress=not is_loopback(host))
    shown = "" if public else key
    server = Served(app, host, port, lambda at: typer.echo(_welcome(host, at, shown)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run()
    except KeyboardInterrupt:
        return
    if not server.started:
        raise typer.Exit(1)


def _warn_if_away(url: str) -> None:
    from ..publish.database import connect

    try:
        connect(url).close()
    except RedisUnreachableError as error:
        typer.echo(f"blissdata-bluesky: {error}; runs will be listed as soon as it answers", err=True)


def _welcome(host: str, port: int, key: str) -> str:
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    query = f"?api_key={key}" if key else ""
    return f"""\
Tiled is ready
  browse  {place}/{query}
  read    from tiled.client import from_uri
          client = from_uri("{place}/api/v1{query}")
Ctrl-C ends it."""
