"""What `doctor` looks at in a directory of journals, and what it says about it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.filesize import decimal

from ..connection import redact, target
from ..errors import ArchiveError, JournalError
from ..journal import Fate, JournalDirectory
from ..journal.listing import ListedJournal, list_journals, look_at
from ..journal.network import network_file_system
from ..publish.report import DatabaseReport
from .findings import Finding, Level
from .journal.shown import in_words, shown_seconds, shown_time, unsent_since
from .words import are, counted

if TYPE_CHECKING:
    from ..archive.report import WaitingRun

# below either, a warning
FREE_BYTES, FREE_PART = 2**30, 0.05
PUBLISHES = "a new writer or `blissdata-bluesky journal replay --all --redis URL` publishes what is left over"
REPAIRS = "`blissdata-bluesky journal repair --redis URL` lists and closes those whose writers and journals are gone"
_MOST_SHOWN = 3
# the archiver flushes within half of it
_LATE_SECONDS = 10.0
# compressing, verifying and listing takes no longer, but for very large runs
_SEALED_SECONDS = 120.0


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
class Unarchived:
    """A run that the archiver is not done with."""

    uid: str
    archive: str
    """Root of the archive."""
    file: str
    """Absolute path."""
    unwritten: int
    """Bytes of the journal that are not in the file."""
    age: float
    """Seconds since the oldest document that is not in the file was given; 0 when it has all."""
    silent: float
    """Seconds since the last document of the run was given."""
    over: bool
    """Whether Redis has the whole run, or does not take it."""
    attended: bool
    """Whether an archiver is at work here."""
    away: str = ""
    """Why nothing can be written to the archive, which is not the one that it was."""

    @property
    def late(self) -> bool:
        """Whether the file lacks what it should have by now."""
        return self.age > _LATE_SECONDS

    @property
    def unsealed(self) -> bool:
        """Whether the file has all, and an archiver that could be done with it."""
        return self.attended and self.over and not self.unwritten and self.silent > _SEALED_SECONDS


@dataclass(frozen=True)
class JournalReport:
    """A snapshot of one directory."""

    directory: str
    publishing: int
    left_over: int
    abandoned: int
    finished: int
    damaged: tuple[str, ...]
    """Uids of those that are kept because more may be in them than they gave."""
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
    """The last one that a publisher or an archiver noted."""
    unarchived: tuple[Unarchived, ...]
    """Runs that have a place in an archive and are not wholly there."""


def examine(directory: Path) -> JournalReport:
    """Look at a directory that exists; nothing is changed. Raises JournalError when it cannot be used."""
    journal_directory = JournalDirectory(directory)
    journals = list_journals(directory)
    disk = shutil.disk_usage(directory)
    known = [journal for journal in journals if journal.header is not None]
    to_do = [journal for journal in known if journal.fate in {Fate.UNFINISHED, Fate.ABANDONED}]
    return JournalReport(
        directory=str(directory),
        publishing=sum(journal.owned for journal in known),
        left_over=sum(journal.left_over for journal in known),
        abandoned=sum(journal.fate == Fate.ABANDONED for journal in known),
        finished=sum(journal.fate == Fate.FINISHED for journal in known),
        damaged=tuple(journal.header.uid for journal in known if journal.header and journal.fate == Fate.DAMAGED),
        unreadable=tuple(journal.fault for journal in journals if journal.header is None),
        bytes=sum(journal.size for journal in journals),
        free=disk.free,
        disk=disk.total,
        network=network_file_system(directory),
        behind=tuple(_behind(journal) for journal in to_do if journal.unsent and journal.fate == Fate.UNFINISHED),
        targets=tuple(sorted({journal.header.target for journal in to_do if journal.header})),
        unfinished=tuple(journal.header.uid for journal in to_do if journal.header and journal.fate == Fate.UNFINISHED),
        published=tuple(journal.header.uid for journal in known if journal.header and journal.owned),
        fault=journal_directory.fault(),
        unarchived=tuple(_unarchived(journal_directory)),
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
        *_archiver(report),
        _disk(report),
        *_network(report),
        *_damaged(report),
        *_unreadable(report),
        *_targets(report, url),
        *_fault(report),
    ]


def _behind(journal: ListedJournal) -> Behind:
    uid = journal.header.uid if journal.header else ""
    return Behind(uid, journal.unsent, max(0.0, time.time() - unsent_since(journal)), in_words(journal))


def _unarchived(directory: JournalDirectory) -> Iterator[Unarchived]:
    if not directory.to_archive():
        return
    # with h5py, which takes as long to import as all the rest
    from ..archive.report import waiting_runs

    for run in waiting_runs(directory):
        with suppress(JournalError):
            # one that is gone meanwhile is archived
            yield _unarchived_run(run)


def _unarchived_run(run: WaitingRun) -> Unarchived:
    listed = look_at(run.journal)
    return Unarchived(
        uid=run.header.uid,
        archive=run.header.archive,
        file=str(run.header.identity.get("path")),
        unwritten=run.unwritten,
        age=max(0.0, time.time() - unsent_since(replace(listed, sent=run.offset))) if run.unwritten else 0.0,
        silent=max(0.0, time.time() - listed.modified),
        over=listed.fate != Fate.UNFINISHED,
        attended=run.attended,
        away=_away(run.journal.parent, Path(run.header.archive)),
    )


def _away(journal: Path, root: Path) -> str:
    """What the archiver says of an archive that is not there; nothing of one that is, or never was."""
    from ..archive.root import ArchiveRoot, path_beside

    try:
        if path_beside(journal, root, ".root").exists():
            ArchiveRoot(journal, root)
    except ArchiveError as error:
        return str(error)
    return ""


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
    message = (
        f"{decimal(total)} of {counted(len(report.behind), 'run')} not sent, the oldest for {shown_seconds(oldest)}"
    )
    return Finding(Level.OK, "lag", message)


def _archiver(report: JournalReport) -> Iterator[Finding]:
    runs = report.unarchived
    late = [run for run in runs if run.late or (run.unwritten and _reason(report, run))]
    for run in late[:_MOST_SHOWN]:
        message = f"run {run.uid}: {decimal(run.unwritten)} of its journal are not in {run.file}"
        message += f", the oldest for {shown_seconds(run.age)}" + _reason(report, run)
        yield Finding(Level.ERROR, "archiver", message, _remedy(report, run))
    if (more := len(late) - _MOST_SHOWN) > 0:
        yield Finding(Level.ERROR, "archiver", f"{more} more {are(more)} as late, of {counted(len(runs), 'run')}")
    yield from _unattended(report, [run for run in runs if not run.attended and run not in late])
    for run in [run for run in runs if run.unsealed][:_MOST_SHOWN]:
        message = f"run {run.uid}: {run.file} has all since {shown_seconds(run.silent)}, and is not sealed and listed"
        yield Finding(Level.WARNING, "archiver", message + _reason(report, run), _remedy(report, run))
    if not late and all(run.attended and not run.unsealed for run in runs):
        message = f"{counted(len(runs), 'run')} {are(len(runs))} being archived" if runs else "no run is to be archived"
        yield Finding(Level.OK, "archiver", message)


def _unattended(report: JournalReport, runs: Sequence[Unarchived]) -> Iterator[Finding]:
    for root in sorted({run.archive for run in runs}):
        count = sum(run.archive == root for run in runs)
        message = f"{counted(count, 'run')} {are(count)} to be archived in {root}, "
        message += f"and no archiver is at work on {report.directory}"
        yield Finding(Level.WARNING, "archiver", message, _starts(report, root))


def _reason(report: JournalReport, run: Unarchived) -> str:
    """Why it cannot be archived: what is seen of its archive, or what the archiver noted of it last of all."""
    if run.away:
        return f": {run.away}"
    message = str(report.fault.get("message")) if report.fault else ""
    # what a publisher notes does not name the file
    return f": {message.removeprefix(f'run {run.uid}: ')}" if run.uid in message and run.file in message else ""


def _remedy(report: JournalReport, run: Unarchived) -> str:
    if not run.attended:
        return _starts(report, run.archive)
    if run.away:
        return "when it is back, the archiver goes on by itself"
    if _reason(report, run):
        return "mend that and restart the archiver; the journal is kept until then"
    return (
        f"an archiver is at work: its log ({report.directory}/archiver.log when a writer started it) may say why, or the "
        f"disk of {run.archive} is slow or full; rows that Redis trims meanwhile can be read when it has caught up"
    )


def _starts(report: JournalReport, root: str) -> str:
    return f"`blissdata-bluesky archive --journal {report.directory} --root {root}` writes them, as a writer's archiver does"


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


def _damaged(report: JournalReport) -> Iterator[Finding]:
    if report.damaged:
        shown = ", ".join(report.damaged[:_MOST_SHOWN]) + (", …" if len(report.damaged) > _MOST_SHOWN else "")
        message = f"{len(report.damaged)} damaged, whose runs are incomplete wherever they were read from them: {shown}"
        remedy = (
            f"`blissdata-bluesky journal export RUN --jsonl --journal {report.directory}` prints every whole document, also "
            "behind the damage; look at the disk; remove the file when nobody needs it"
        )
        yield Finding(Level.WARNING, "journals", message, remedy)


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
