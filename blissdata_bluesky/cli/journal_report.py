"""What `doctor` looks at in a directory of journals, and what it says about it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from ..connection import redact, target
from ..journal import Fate, JournalDirectory
from ..journal.listing import ListedJournal, list_journals
from ..journal.network import network_file_system
from ..publish.report import DatabaseReport
from .findings import Finding, Level
from .journal.shown import in_words, shown_seconds, shown_time, unsent_since

# below either, a warning
FREE_BYTES, FREE_PART = 2**30, 0.05
PUBLISHES = "a new writer or `blissdata-bluesky journal replay --all --redis URL` publishes what is left over"
REPAIRS = "`blissdata-bluesky journal repair --redis URL` lists and closes those whose writers and journals are gone"
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Behind:
    """A run that Redis does not have all of yet."""

    uid: str
    unsent: int
    """Bytes."""
    age: float
    """Seconds since the oldest document that is not sent was given."""
    in_words: str


@dataclass(frozen=True)
class JournalReport:
    """A snapshot of one directory."""

    directory: str
    publishing: int
    left_over: int
    abandoned: int
    finished: int
    unreadable: tuple[str, ...]
    """Why each of those cannot be read."""
    bytes: int
    """Of all journals."""
    free: int
    """Bytes."""
    disk: int
    """Bytes, used or not."""
    network: str
    """Kind of the file system if it is one of another computer; else empty."""
    behind: tuple[Behind, ...]
    targets: tuple[str, ...]
    """Where the runs go that are not finished."""
    unfinished: tuple[str, ...]
    """Uids of runs that are being published or left over."""
    published: tuple[str, ...]
    """Uids of those that are being published."""
    fault: dict[str, Any] | None
    """The last one that a publisher noted."""


def examine(directory: Path) -> JournalReport:
    """Look at a directory that exists; nothing is changed. Raises JournalError when it cannot be used."""
    fault = JournalDirectory(directory).fault()
    journals = list_journals(directory)
    disk = shutil.disk_usage(directory)
    known = [journal for journal in journals if journal.header is not None]
    to_do = [journal for journal in known if journal.fate != Fate.FINISHED]
    return JournalReport(
        directory=str(directory),
        publishing=sum(journal.owned for journal in known),
        left_over=sum(journal.left_over for journal in known),
        abandoned=sum(journal.fate == Fate.ABANDONED for journal in known),
        finished=sum(journal.fate == Fate.FINISHED for journal in known),
        unreadable=tuple(journal.fault for journal in journals if journal.header is None),
        bytes=sum(journal.size for journal in journals),
        free=disk.free,
        disk=disk.total,
        network=network_file_system(directory),
        behind=tuple(_behind(journal) for journal in to_do if journal.unsent and journal.fate == Fate.UNFINISHED),
        targets=tuple(sorted({journal.header.target for journal in to_do if journal.header})),
        unfinished=tuple(journal.header.uid for journal in to_do if journal.header and journal.fate == Fate.UNFINISHED),
        published=tuple(journal.header.uid for journal in known if journal.header and journal.owned),
        fault=fault,
    )


def of_scans(report: DatabaseReport, journals: JournalReport | None) -> Finding:
    """The scans of a server, and whether somebody publishes the open ones of ours, as far as journals here tell."""
    message = ", ".join(f"{number} {state}" for state, number in report.scans.items()) or "none"
    if not report.open_scans:
        return Finding(Level.OK, "scans", message)
    if journals is None:
        remedy = "closed when their runs end; whether somebody publishes them, the journals of their writers tell"
        return Finding(Level.OK, "scans", message, remedy)
    runs = [scan.run for scan in report.open_scans if scan.run and scan.run not in journals.published]
    if not runs:
        return Finding(Level.OK, "scans", message, "closed when their runs end")
    left_over = [run for run in runs if run in journals.unfinished]
    shown = ", ".join(runs[:_MOST_SHOWN]) + (", …" if len(runs) > _MOST_SHOWN else "")
    remedies = [PUBLISHES] if left_over else []
    if len(left_over) < len(runs):
        remedies.append(f"all is well if their writers have journals elsewhere; if not, {REPAIRS}")
    message += f"; open, and published by nobody from {journals.directory}: {shown}"
    return Finding(Level.WARNING, "scans", message, "; ".join(remedies))


def of_journals(report: JournalReport, url: str | None) -> list[Finding]:
    """What is right and wrong with a directory, for runs that go to the server at `url`."""
    return [
        _journals(report),
        _lag(report),
        _disk(report),
        *_network(report),
        *_unreadable(report),
        *_targets(report, url),
        *_fault(report),
    ]


def _behind(journal: ListedJournal) -> Behind:
    uid = journal.header.uid if journal.header else ""
    return Behind(uid, journal.unsent, max(0.0, time.time() - unsent_since(journal)), in_words(journal))


def _journals(report: JournalReport) -> Finding:
    message = (
        f"{report.publishing} being published, {report.left_over} left over, {report.abandoned} abandoned, "
        f"{report.finished} finished, {decimal(report.bytes)} in {report.directory}"
    )
    remedies = [PUBLISHES] if report.left_over else []
    if report.abandoned:
        remedies.append(
            "`blissdata-bluesky journal replay RUN --redis URL` publishes an abandoned one again, or says why Redis "
            "does not take it; `journal export` reads it; remove the file when nobody needs it"
        )
    return Finding(Level.WARNING if remedies else Level.OK, "journals", message, "; ".join(remedies))


def _lag(report: JournalReport) -> Finding:
    if not report.behind:
        return Finding(Level.OK, "lag", "none")
    total, oldest = sum(run.unsent for run in report.behind), max(run.age for run in report.behind)
    message = f"{decimal(total)} of {len(report.behind)} runs not sent, the oldest for {shown_seconds(oldest)}"
    return Finding(Level.OK, "lag", message)


def _disk(report: JournalReport) -> Finding:
    message = f"{decimal(report.free)} of {decimal(report.disk)} free for journals"
    if report.free < FREE_BYTES or report.free < FREE_PART * report.disk:
        remedy = f"make room on the disk of {report.directory}: without a journal a killed writer loses documents"
        return Finding(Level.WARNING, "disk", message, remedy)
    return Finding(Level.OK, "disk", message)


def _network(report: JournalReport) -> Iterator[Finding]:
    if report.network:
        message = f"{report.directory} lies on a network file system ({report.network})"
        yield Finding(Level.WARNING, "disk", message, "give the writer journal=DIR on a local disk")


def _unreadable(report: JournalReport) -> Iterator[Finding]:
    for reason in report.unreadable:
        yield Finding(Level.WARNING, "journals", reason)


def _targets(report: JournalReport, url: str | None) -> Iterator[Finding]:
    others = [place for place in report.targets if url is not None and place != target(url)]
    if url is not None and others:
        message = f"not all runs go to {redact(url)}, others go to {', '.join(others)}"
        yield Finding(Level.WARNING, "journals", message, "look at that Redis as well: they are published nowhere else")


def _fault(report: JournalReport) -> Iterator[Finding]:
    if report.fault is not None:
        when = report.fault.get("time")
        moment = shown_time(when) if isinstance(when, int | float) else "?"
        message = f"{moment} {report.fault.get('owner')}: {report.fault.get('message')}"
        yield Finding(Level.OK, "last fault", message)
