"""Journals in words."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape

from ...journal import ARCHIVE_SUFFIX, Fate, Header, Retention
from ...journal.listing import ListedJournal, first_unsent
from ...packing import unpack_document
from ..directories import a_directory

DirectoryOption = Annotated[
    Path,
    typer.Option("--journal", parser=a_directory, metavar="DIR", help="The directory that BlissdataWriter was given."),
]
RedisOption = Annotated[str, typer.Option("--redis", help="URL of the Redis that the runs go to.", metavar="URL")]

_SHORTEST_UID = 8


def start_document(journal: ListedJournal) -> Mapping[str, Any]:
    """The run's start document; empty when it is not there."""
    return _document(journal.start)


def unsent_since(journal: ListedJournal) -> float:
    """When the oldest document that is not sent was given, in seconds since the epoch, as far as it tells."""
    began = journal.header.created if journal.header else journal.modified
    when = _document(first_unsent(journal)).get("time")
    when = when[0] if isinstance(when, list) and when else when
    # the documents of a run that is only repeated may be years old
    return max(began, when) if isinstance(when, int | float) else began


def in_words(journal: ListedJournal) -> str:
    """What has become of it."""
    if journal.header is None:
        return journal.fault.replace(str(journal.path), "it").removeprefix("journal ")
    if journal.fate == Fate.FINISHED and journal.path.with_suffix(ARCHIVE_SUFFIX).exists():
        return "finished, kept until it is archived"
    if journal.fate == Fate.FINISHED:
        days = max(0, round((journal.modified + Retention().seconds - time.time()) / 86400))
        return f"finished, kept {days} d"
    if journal.fate == Fate.ABANDONED:
        return "abandoned: Redis does not take it"
    if journal.fate == Fate.DAMAGED:
        return "damaged: kept until somebody removes it, for what stands behind the damage"
    if not journal.owned:
        return f"left over by {journal.header.owner or 'nobody knows whom'}"
    return f"publishing now: {publisher(journal.header)}"


def publisher(header: Header) -> str:
    """Who publishes a journal that is owned."""
    host, _, pid = header.owner.rpartition(":")
    if host == socket.gethostname() and pid.isdecimal() and not _runs(int(pid)):
        return f"another process, as its own ({header.owner}) is gone"
    return header.owner


def short_uids(uids: Iterable[str]) -> dict[str, str]:
    """The beginning of each uid that no other one has, of eight characters at least."""
    uids = set(uids)
    length = _SHORTEST_UID
    while len({uid[:length] for uid in uids}) < len(uids):
        length += 1
    return {uid: uid[:length] for uid in uids}


def shown_text(text: str) -> str:
    """Text of a file, or its name, for rich: nothing in it is markup, or a command to the terminal."""
    return escape("".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text))


def shown_time(seconds: float) -> str:
    """A moment in local time; a file may hold any number."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "????-??-?? ??:??:??"


def shown_bytes(count: int) -> str:
    """A number of bytes; nothing for none."""
    return decimal(count) if count else "-"


def shown_seconds(seconds: float) -> str:
    """A duration, in the unit that fits."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _document(packed: bytes) -> Mapping[str, Any]:
    try:
        document = unpack_document(packed)[1] if packed else {}
    except (ValueError, TypeError):
        return {}
    return document if isinstance(document, Mapping) else {}


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except OSError:
        # it is another user's
        pass
    return True
