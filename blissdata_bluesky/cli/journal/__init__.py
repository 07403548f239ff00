"""`blissdata-bluesky journal …`: what a directory of journals holds, and what may be done with it."""

import typer

from .export import export
from .ls import ls
from .repair import repair
from .replay import replay

journal = typer.Typer(no_args_is_help=True, help="Look at journals, publish them again, repair scans without one.")
journal.command()(ls)
journal.command()(replay)
journal.command()(repair)
journal.command()(export)

__all__ = ["journal"]
