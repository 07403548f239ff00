"""What `doctor` looks at, and what it says about it: one `Finding` for each thing, with its remedy."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ..protocol import PROTOCOL_KEY, PROTOCOL_VERSION, SCAN_PREFIX
from ..publish.database import MODULE_COMMANDS
from ..publish.report import DatabaseReport

DISTRIBUTION = "blissdata-bluesky"
# what a running installation may need; the extras of developers are not the doctor's business
EXTRAS = ("", "server", "tiled", "demo")
# blissdata's memory tracker begins to trim here
FULL = 0.8
MIB = 2**20


class Level(StrEnum):
    """How good a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    message: str
    remedy: str = ""


def of_database(report: DatabaseReport, *, holds_scans: bool = False) -> list[Finding]:
    """What is right and wrong with a server; `holds_scans`: it has scans though it is not initialised."""
    return [
        Finding(Level.OK, "server", f"{report.server} {report.version}"),
        _modules(report),
        _protocol(report, holds_scans=holds_scans),
        _memory(report),
        _eviction(report),
    ]


def of_packages() -> list[Finding]:
    """Our version, and the installed Python and packages beside the ranges in which it was tested."""
    ours = metadata.metadata(DISTRIBUTION)
    python = _in_range(
        "python",
        platform.python_version(),
        SpecifierSet(ours["Requires-Python"]),
        f"use Python {ours['Requires-Python']}",
    )
    return [Finding(Level.OK, DISTRIBUTION, metadata.version(DISTRIBUTION)), python, *_requirements()]


def summed_up(packages: Sequence[Finding]) -> list[Finding]:
    """What `of_packages` found, for people: ours, in one line all that are as they should be, and the others."""
    ours, *others = packages
    installed = versions()
    fitting = [finding.subject for finding in others if finding.level == Level.OK and finding.subject in installed]
    absent = [finding.subject for finding in others if finding.level == Level.OK and finding.subject not in installed]
    message = f"{len(fitting)} in the tested ranges" + (f"; not installed: {', '.join(absent)}" if absent else "")
    wrong = [finding for finding in others if finding.level != Level.OK]
    return [ours, Finding(Level.OK, "packages", message), *wrong]


def versions() -> dict[str, str]:
    """Installed version of each package that matters, and of this one."""
    installed = {name: version for requirement, _ in _required() if (version := _version(name := requirement.name))}
    return {"python": platform.python_version(), DISTRIBUTION: metadata.version(DISTRIBUTION), **installed}


def _modules(report: DatabaseReport) -> Finding:
    missing = [name for name in MODULE_COMMANDS if name not in report.modules]
    if missing:
        remedy = "use Redis 8, Redis Stack, or the server of `blissdata-bluesky redis`"
        return Finding(Level.ERROR, "modules", f"missing: {', '.join(missing)}", remedy)
    return Finding(Level.OK, "modules", ", ".join(MODULE_COMMANDS))


def _protocol(report: DatabaseReport, *, holds_scans: bool) -> Finding:
    subject = "blissdata protocol"
    if report.protocol == str(PROTOCOL_VERSION):
        return Finding(Level.OK, subject, f"version {report.protocol}")
    if report.protocol is not None:
        message = f"version {report.protocol}, not {PROTOCOL_VERSION}"
        return Finding(Level.ERROR, subject, message, "install the blissdata that fits, or use another Redis")
    if holds_scans:
        message = f"the version key is missing, but scans are there ({SCAN_PREFIX}*)"
        remedy = (
            f"if nobody else changed the database, `SET {PROTOCOL_KEY} {PROTOCOL_VERSION}` on it makes them readable "
            "again; do not empty it"
        )
        return Finding(Level.ERROR, subject, message, remedy)
    if report.keys:
        message = f"not initialised, but {report.keys} keys are there"
        return Finding(Level.ERROR, subject, message, "use a Redis of its own, or empty this one (FLUSHALL)")
    return Finding(Level.OK, subject, "empty database; the first writer initialises it")


def _memory(report: DatabaseReport) -> Finding:
    used, bound = report.used_memory / MIB, report.maxmemory / MIB
    if not bound:
        remedy = "set maxmemory: blissdata's memory tracker needs it, and a full machine ends the server"
        return Finding(Level.WARNING, "memory", f"{used:.0f} MiB used, no bound", remedy)
    message = f"{used:.0f} of {bound:.0f} MiB used"
    if report.used_memory >= report.maxmemory:
        remedy = (
            "`CONFIG SET maxmemory` to half as much again until it has trimmed, or delete scans; then give the tracker settings "
            "that fit (docs/how-to/archive.md)"
        )
        message += ": rows are refused, and the memory tracker cannot begin to trim"
        return Finding(Level.ERROR, "memory", message, remedy)
    if used > FULL * bound:
        return Finding(Level.WARNING, "memory", message, "run blissdata's memory tracker, delete scans, or add memory")
    return Finding(Level.OK, "memory", message)


def _eviction(report: DatabaseReport) -> Finding:
    policy = report.maxmemory_policy
    if policy == "noeviction":
        return Finding(Level.OK, "eviction", policy)
    remedy = "set maxmemory-policy noeviction: this one removes parts of scans without a word"
    return Finding(Level.WARNING, "eviction", policy, remedy)


def _required() -> Iterator[tuple[Requirement, str]]:
    """Each requirement of this package with the extra that asks for it; "" is the package itself."""
    seen: set[str] = set()
    for extra in EXTRAS:
        for requirement in map(Requirement, metadata.requires(DISTRIBUTION) or ()):
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
            if wanted and requirement.name not in seen and requirement.name != DISTRIBUTION:
                seen.add(requirement.name)
                yield requirement, extra


def _requirements() -> Iterator[Finding]:
    for requirement, extra in _required():
        version = _version(requirement.name)
        name = requirement.name
        if version is not None:
            yield _in_range(name, version, requirement.specifier, f'pip install "{name}{requirement.specifier}"')
        elif extra:
            yield Finding(Level.OK, name, f"not installed (extra {extra})")
        else:
            yield Finding(Level.ERROR, name, "not installed", f'pip install "{name}{requirement.specifier}"')


def _in_range(name: str, version: str, tested: SpecifierSet, remedy: str) -> Finding:
    if tested.contains(version, prereleases=True):
        return Finding(Level.OK, name, version)
    return Finding(Level.WARNING, name, f"{version}, tested with {tested}", remedy)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
