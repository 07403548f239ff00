"""The archiver: every run of a directory of journals that belongs in one archive, for as long as it is wanted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ArchiveError, ArchiveRefusedError, JournalError
from ..external import Roots
from ..journal import Fate, JournalDirectory, JournalReader
from .lock import ArchiverLock, Patience
from .registering import Register, Registering
from .root import ArchiveRoot
from .run import RunArchiver
from .sealing import Sealing

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
_RETRY_SECONDS = 10.0
# somebody has to look at it first
_REFUSED_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
# runs that go on wait no longer for those that are only left over
_LIVE_SECONDS = 1.0
# bytes of a journal
_FAR_BEHIND = 2**20
# journals and files that are open at once; half of them only of runs that go on, which must not wait for others
_MOST_OPEN = 64


@dataclass(slots=True)
class _Trouble:
    """Why a run cannot be archived, of which the log has told."""

    reason: str
    retry_at: float = field(default=0.0)


class Archiver:
    """Writes the file of every run whose journal says that it belongs below `root`."""

    def __init__(
        self,
        journal: Path,
        root: Path,
        register: Register | None = None,
        patience: Patience | None = None,
        *,
        external_roots: Roots | None = None,
    ) -> None:
        """`register`: without it, the files are written and nothing else; `blissdata-bluesky register` finds them.

        `patience`: how long another archiver may take to end. `external_roots`: where detectors' files are, to
        which the files of runs have links; None: as configured.

        Raises JournalError, and ArchiveError when the root is not the one that it was or cannot be made, or another
        archiver is at work here.
        """
        self._directory = JournalDirectory(journal)
        self._root = ArchiveRoot(self._directory.path, root)
        self.root = self._root.path
        self._away = False
        self._external_roots = Roots.configured() if external_roots is None else external_roots
        self._registering = Registering(register)
        self._sealing = Sealing()
        self._runs: dict[str, RunArchiver] = {}
        self._left_out: set[str] = set()
        self._troubles: dict[str, _Trouble] = {}
        self._hurried = False
        self._begun = time.time()
        self._lock = ArchiverLock(self._directory.path, self.root)
        self._lock.acquire(patience)

    def run(self, wanted: Callable[[], bool], stop: threading.Event | None = None) -> None:
        """Archive until `stop` is set, or `wanted` is false and nothing is left to be done.

        What cannot be archived now is left; it is retried by the next archiver.
        """
        stop = stop or threading.Event()
        try:
            while not stop.is_set():
                # what is registered after a step is taken by the next one
                was_wanted = wanted() or self.waiting
                busy = self.step()
                if not busy and not was_wanted and not self.waiting:
                    return
                if not self._hurried:
                    # what has come meanwhile is written at once: that takes hardly longer than a single row
                    stop.wait(LOOK_SECONDS)
        finally:
            self.close()

    def step(self) -> bool:
        """Archive a part of every run; whether there was anything to do."""
        busy = self._hurried = False
        if self._is_away():
            return False
        for path in self._in_turn():
            with self._telling(path):
                busy = self._advance(path) or busy
        if self._root.is_there:
            self._remove_done()
        return busy

    def _remove_done(self) -> None:
        """Let go of the journals of runs that are sealed and registered."""
        for stem, run in self._registering.take_done():
            if run.complete:
                path = self._directory.path / f"{stem}{Fate.UNFINISHED}"
                self._directory.archived(path, needed=run.journal_is_needed)
                logger.info("run %s is archived in %s", run.uid, run.file)

    def _is_away(self) -> bool:
        """Whether the archive is not there; then everything waits, and is looked at anew when it is back."""
        away = not self._root.is_there
        if away and not self._away:
            logger.error(self._root.away)
            self._directory.note(self._root.away)
            self._left_out.clear()
        elif self._away and not away:
            logger.warning("the archive %s is back", self.root)
        if away:
            # of a run that was being sealed, in one of the next steps
            self._let_go()
        self._away = away
        return away

    def _let_go(self) -> None:
        for stem in list(self._runs):
            self._drop(stem)

    def _drop(self, stem: str) -> None:
        """Close a run, unless it is being sealed: it is kept then, so that nobody begins with it anew meanwhile."""
        if self._sealing.forget(self._runs[stem]):
            self._runs.pop(stem).close()

    @property
    def waiting(self) -> bool:
        """Whether there are runs that are not wholly archived, and that can be."""
        if self._runs or (self._registering.busy and not self._registering.failing):
            return True
        # asked last: what has just been registered is here
        return self._registering.has_done and not self._away

    @property
    def left(self) -> int:
        """How many runs are not archived and listed yet, for whatever reason: their journals are needed."""
        return len(self._directory.to_archive())

    def close(self) -> None:
        """Let go of everything; the next archiver goes on: when this process has ended, if it still seals a run."""
        sealed = self._sealing.join(_CLOSE_SECONDS)
        self._let_go()
        self._registering.close(_CLOSE_SECONDS)
        if sealed:
            # else two of them would write the same file
            self._lock.release()

    def _in_turn(self) -> Iterator[Path]:
        """Every run once: live ones first, and again whenever they have waited a while for the others."""
        paths = self._next()
        live = list(filter(self._is_live, paths))
        yield from live
        served = time.monotonic()
        for path in paths:
            if path in live or path.stem in self._left_out:
                continue
            yield path
            if time.monotonic() - served > _LIVE_SECONDS:
                # among them those that have begun meanwhile
                yield from filter(self._is_live, self._next())
                served = time.monotonic()

    def _is_live(self, path: Path) -> bool:
        """Whether somebody is waiting for the rows of a run: it goes on, or did so lately."""
        try:
            if path.stat().st_mtime >= self._begun:
                return True
            if path.suffix != Fate.UNFINISHED:
                return False
            if (run := self._runs.get(path.stem)) is not None:
                return run.owned
            with JournalReader(path) as reader:
                return reader.owned
        except (OSError, JournalError):
            return False

    def _next(self) -> list[Path]:
        self._drop_removed()
        paths = self._directory.to_archive()
        stems = {path.stem for path in paths}
        self._left_out &= stems
        self._troubles = {stem: trouble for stem, trouble in self._troubles.items() if stem in stems}
        now = time.monotonic()
        due = [
            path
            for path in paths
            if path.stem not in self._left_out
            and (path.stem not in self._troubles or now >= self._troubles[path.stem].retry_at)
        ]
        known = [path for path in due if path.stem in self._runs]
        return [*known, *self._to_open([path for path in due if path.stem not in self._runs])]

    def _to_open(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Those for which there is room now."""
        places = _MOST_OPEN - len(self._runs)
        for path in paths:
            if places > (0 if path.suffix == Fate.UNFINISHED else _MOST_OPEN // 2):
                places -= 1
                yield path

    def _drop_removed(self) -> None:
        """Close the runs whose journals somebody has removed."""
        for stem, run in list(self._runs.items()):
            if not self._directory.is_to_archive(run.journal):
                self._drop(stem)

    def _advance(self, path: Path) -> bool:
        run = self._runs.get(path.stem) or self._open(path)
        if run is None:
            return False
        run.journal = path
        if self._sealing.is_busy(run):
            return False
        busy = run.step()
        if run.ended:
            self._sealing.seal(run)
        # behind a damage nothing comes
        self._hurried = self._hurried or run.complete or (busy and run.behind > _FAR_BEHIND)
        if run.complete:
            self._finish(path, run)
        elif busy:
            self._announce(path.stem, run)
            if not run.behind and not run.ended:
                # before, it may only be on its way to the same trouble again
                self._troubles.pop(path.stem, None)
        return busy

    def _open(self, path: Path) -> RunArchiver | None:
        with JournalReader(path) as reader:
            root = reader.header.archive
        if not root or Path(root).resolve() != self.root.resolve():
            self._left_out.add(path.stem)
            logger.warning(
                "journal %s belongs into the archive %r, not into %s, and is left alone", path, root, self.root
            )
            return None
        run = self._runs[path.stem] = RunArchiver(path, self.root, self._external_roots)
        return run

    def _announce(self, stem: str, run: RunArchiver) -> None:
        """Have a run registered once when it has begun."""
        if run.result is not None and not run.announced:
            run.announced = True
            self._registering.add(stem, run.result)

    def _finish(self, path: Path, run: RunArchiver) -> None:
        """The file is whole: once it is registered, the journal may go."""
        result = run.result
        self._tell_what_lacks(path, run)
        run.close()
        del self._runs[path.stem]
        # not opened again while it waits to be registered
        self._left_out.add(path.stem)
        if result is not None:
            self._registering.add(path.stem, result)
        else:
            self._directory.archived(path)

    def _tell_what_lacks(self, path: Path, run: RunArchiver) -> None:
        """Say that an archived run is not whole; the journal is kept if more may be in it than it gave."""
        if run.damage is not None:
            kept = self._directory.keep_damaged(path)
            message = (
                f"{run.lacks}. The journal is kept: `blissdata-bluesky journal export {run.header.uid} --jsonl --journal "
                f"{kept.parent}` prints all its whole documents, also those behind a damage; remove {kept} when nobody needs it"
            )
            logger.error(message)
            self._directory.note(message)
        elif run.lacks:
            logger.warning(run.lacks)

    @contextmanager
    def _telling(self, path: Path) -> Iterator[None]:
        """What is wrong with one run is said once, and the others go on."""
        try:
            yield
        except (ArchiveError, JournalError) as error:
            self._tell(path, str(error), _REFUSED_SECONDS if isinstance(error, ArchiveRefusedError) else _RETRY_SECONDS)
        except Exception as error:
            run = self._runs.get(path.stem)
            about = f"journal {path}" if run is None else f"run {run.header.uid} (journal {path})"
            self._tell(
                path, f"{about} is not archived, for an unexpected error: {error!r}; please report this", _RETRY_SECONDS
            )
            logger.debug("unexpected", exc_info=True)

    def _tell(self, path: Path, reason: str, pause: float) -> None:
        if path.stem in self._runs:
            self._drop(path.stem)
        if not path.exists():
            # renamed when Redis had it, or removed
            return
        known = self._troubles.get(path.stem)
        if known is None or known.reason != reason:
            logger.error("%s (it is tried again every %.0f s)", reason, pause)
            self._directory.note(reason)
        self._troubles[path.stem] = _Trouble(reason, time.monotonic() + pause)
