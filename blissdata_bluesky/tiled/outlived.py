"""Runs that Redis has no longer: which of them the archive has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..catalog import Registration
from ..errors import BlissdataBlueskyError, RunUnavailableError
from ..runs import ArchivedRuns


@dataclass
class Outlived:
    """What has become of runs that are gone from Redis."""

    archived: list[Registration] = field(default_factory=list)
    """Those whose whole files are in the archive."""
    awaited: dict[str, str] = field(default_factory=dict)
    """Those whose files are there and not whole yet, with the paths: the archiver may still be at work."""
    lost: list[str] = field(default_factory=list)
    """All others."""


def look_for_files(archive: ArchivedRuns | None, paths: Mapping[str, str]) -> Outlived:
    """Where runs are now, by uid → path of the file as the writer told it. It waits for the disk."""
    found = Outlived()
    for uid, path in paths.items():
        try:
            at = archive.at(uid, path) if archive is not None else None
        except RunUnavailableError:
            # it has only just been made
            found.awaited[uid] = path
            continue
        except BlissdataBlueskyError:
            at = None
        if at is None:
            found.lost.append(uid)
        elif at[1].closed:
            file, run = at
            found.archived.append(Registration(uid, run.start, run.stop, run.incomplete, file))
        else:
            found.awaited[uid] = path
    return found


def without(paths: Mapping[str, str], uids: Iterable[str]) -> dict[str, str]:
    """The paths of the other runs."""
    others = set(uids)
    return {uid: path for uid, path in paths.items() if uid not in others}
