"""The command `blissdata-bluesky`: one module per command, each as thin as it can be."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import BlissdataBlueskyError
from .archive import archive
from .demo import demo
from .doctor import doctor
from .journal import journal
from .listen import listen
from .redis import redis
from .register import register
from .serve import serve

FAULT = 2


class _Commands(TyperGroup):
    """Prints an error of this package as one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BlissdataBlueskyError as error:
            if ctx.params["debug"]:
                raise
            typer.echo(f"blissdata-bluesky: {error}", err=True)
            raise typer.Exit(FAULT) from None


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.command()(demo)
app.command()(redis)
app.command()(doctor)
app.command()(serve)
app.command()(archive)
app.command()(listen)
app.command()(register)
app.add_typer(journal, name="journal")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="BLISSDATA_BLUESKY_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Bluesky runs as live blissdata scans in Redis, and both of them through Tiled."""
