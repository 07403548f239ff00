"""The command `blissdata-bluesky`: one module per command, each as thin as it can be."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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

FAULT, INTERRUPTED = 2, 130


class _Commands(TyperGroup):
    """Prints an error of this package, or that it was interrupted, as one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with _interruptible():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("blissdata-bluesky: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BlissdataBlueskyError as error:
            if ctx.params["debug"]:
                raise
            typer.echo(f"blissdata-bluesky: {error}", err=True)
            raise typer.Exit(FAULT) from None


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, unless the command wants it otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: of a program in C that Python is embedded in
            signal.signal(number, handler or signal.SIG_DFL)


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
