"""`blissdata-bluesky journal export`: the documents of a run as lines of JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import typer

from ...errors import JournalError
from ...journal import JournalReader, record_size
from ...journal.listing import find_journal
from ...packing import unpack_document
from ...protocol import dump_json
from ...writer import DEFAULT_JOURNAL
from .shown import DirectoryOption

LEFT_OUT = 1
# dtypes whose values a list holds as well; the others are tagged
_LISTED_KINDS = "biufcSU"
# the owner needs no longer for the rest of a record
_RECORD_SECONDS = 0.2


def export(
    run: Annotated[str, typer.Argument(help="The run's uid, the beginning of it, or the path of its journal.")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One line of JSON for each document.")] = False,
    directory: DirectoryOption = DEFAULT_JOURNAL,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write to this file instead of standard output.")
    ] = None,
) -> None:
    """Print every document of a run, whatever has become of its journal, also while it is being written.

    Arrays become nested lists; what JSON lacks is spelled {"$type": …}. The exit code is 1 when torn or damaged bytes
    were left out; documents behind them are printed.
    """
    if not jsonl:
        raise typer.BadParameter("give --jsonl, the only format that there is")
    with JournalReader(find_journal(directory, run).path) as reader, _opened(output) as lines:
        left_out = _write(reader, lines)
    if left_out:
        typer.echo(f"blissdata-bluesky: {left_out}", err=True)
        raise typer.Exit(LEFT_OUT)


def _opened(output: Path | None) -> Any:
    if output is None:
        return nullcontext(sys.stdout.buffer)
    try:
        return output.open("wb")
    except OSError as error:
        raise JournalError(f"{output} cannot be written ({error.strerror}): give another --output") from error


def _write(reader: JournalReader, lines: BinaryIO) -> str:
    """Write all whole documents; return what had to be left out."""
    end = reader.size
    offset = reader.begin
    for offset, packed in _records(reader, end):
        if not _write_line(lines, packed):
            return f"journal {reader.path} holds no document before byte {offset}; the rest is left out"
    behind, lost = 0, end - offset
    for _, _, packed in reader.records_behind(offset) if lost > 0 and not reader.owned else ():
        if _write_line(lines, packed):
            behind, lost = behind + 1, lost - record_size(len(packed))
    lines.flush()
    if lost <= 0:
        return ""
    if behind:
        return (
            f"journal {reader.path} is whole up to byte {offset}; {lost} bytes behind it are damaged and are left out, "
            f"and the last {behind} documents are those that stand whole behind a damage"
        )
    return (
        f"journal {reader.path} is whole up to byte {offset}; the {lost} bytes after it are torn or damaged "
        "and are left out"
    )


def _write_line(lines: BinaryIO, packed: bytes) -> bool:
    """Write one document; False when it is none."""
    try:
        name, document = unpack_document(packed)
    except (ValueError, TypeError):
        return False
    lines.write(dump_json({"name": name, "doc": _with_lists(document)}) + b"\n")
    return True


def _records(reader: JournalReader, end: int) -> Iterator[tuple[int, bytes]]:
    reached = reader.begin
    for offset, packed in reader.records(reached):
        reached = offset
        yield offset, packed
    if reached < end and reader.owned:
        # a part of a record may have been all that was there of it
        time.sleep(_RECORD_SECONDS)
        yield from reader.records(reached)


def _with_lists(value: Any) -> Any:
    match value:
        case np.ndarray() if value.dtype.kind in _LISTED_KINDS:
            return value.tolist()
        case Mapping():
            return {key: _with_lists(item) for key, item in value.items()}
        case list():
            return [_with_lists(item) for item in value]
    return value
