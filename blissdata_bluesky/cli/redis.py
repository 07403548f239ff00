"""`blissdata-bluesky redis`: the embedded server in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..server import RedisServer
from .directories import a_directory


def redis(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on 127.0.0.1; 0 picks a free one.")] = 0,
    maxmemory: Annotated[str | None, typer.Option(help='Bound of the memory, for example "2gb".')] = None,
    directory: Annotated[
        Path | None,
        typer.Option(parser=a_directory, metavar="DIR", help="Keep data and log here; without it, nothing is kept."),
    ] = None,
) -> None:
    """Run a Redis with all that blissdata needs, until Ctrl-C."""
    try:
        with RedisServer(port, maxmemory, directory) as server:
            typer.echo(_welcome(server.url, directory))
            server.wait()
    except KeyboardInterrupt:
        return
    typer.echo(f"blissdata-bluesky: the server at {server.url} was ended by something else", err=True)
    raise typer.Exit(1)


def _welcome(url: str, directory: Path | None) -> str:
    return f"""\
Redis is ready at {url}
  data    {f"kept in {directory}" if directory else "in memory only: --directory DIR keeps it"}
  check   blissdata-bluesky doctor --redis {url}
  browse  blissdata-bluesky serve --redis {url}
  write   RE.subscribe(BlissdataWriter("{url}"))
Ctrl-C ends it."""
