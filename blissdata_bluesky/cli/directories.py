"""How the commands take directories: an empty name is a mistake, as of a variable that is not set, and not this one."""

from __future__ import annotations

from pathlib import Path

import typer


def a_directory(value: str | Path) -> Path:
    """The directory that an option names. Raises BadParameter when it is empty, or something else stands there."""
    if not str(value):
        raise typer.BadParameter('it is empty: give a directory, "." for the current one')
    path = Path(value)
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{path} is a file: give a directory")
    return path
