"""The option of every command that reads, or leads to, files that detectors wrote."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

ExternalRoots: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--external-root",
        metavar="DIRECTORY",
        help="Directory where files of detectors may be read, or THEIRS=DIRECTORY where the detector's computer spells "
        "it in another way; may be repeated. Without it, those of BLISSDATA_BLUESKY_ROOTS.",
    ),
]
