"""Finishing what dead owners left: `recover` for a directory, `replay` for one journal, `Recovery` for a service."""

from __future__ import annotations

from pathlib import Path

from ..connection import target
from ..errors import JournalTargetError
from ..journal import JournalDirectory, RunJournal
from .publisher import Publisher, PublisherOptions

LOOK_SECONDS = 5.0
_STOP_SECONDS = 5.0


class Recovery:
    """Looks for runs whose owners have died for as long as it lives, and publishes them from their journals."""

    def __init__(self, journal: str | Path, redis_url: str, look_seconds: float | None = LOOK_SECONDS) -> None:
        """Raises JournalError, RedisURLError."""
        self._directory = JournalDirectory(Path(journal))
        self._target = target(redis_url)
        self._publisher = Publisher(redis_url, PublisherOptions(look_seconds=look_seconds), self._directory)

    def start(self) -> None:
        """Begin, in a thread."""
        self._publisher.recover()

    def replay(self, path: Path) -> None:
        """Begin to publish one journal, whatever has become of it and of its scan.

        Raises JournalTargetError for another Redis, JournalOwnedError while its owner lives, JournalError.
        """
        journal = RunJournal.adopt(path)
        if journal.header.target != self._target:
            journal.close()
            raise JournalTargetError(
                f"run {journal.header.uid} was published to {journal.header.target}, not to {self._target}, and can go "
                "to the same Redis only: give that URL"
            )
        # who is interrupted leaves a journal that the next one recovers
        self._directory.reopen(journal)
        self._publisher.adopt(journal, raises_deleted=True)

    def wait(self, timeout: float | None = None) -> list[str]:
        """Wait until nothing is left to be done, or for `timeout` seconds; one sentence for each run that is done."""
        self._publisher.wait_recovered(timeout)
        return list(self._publisher.recovered)

    def stop(self) -> None:
        """End the thread; what is not done waits for the next one."""
        self._publisher.stop(_STOP_SECONDS)


def recover(journal: str | Path, redis_url: str, timeout: float | None = None) -> list[str]:
    """Publish what is left in a journal directory for this Redis; return one sentence for each run.

    A run with a stop document becomes whole; one without ends as FAILURE and is marked as incomplete. Journals of
    living processes and of other Redis servers are left alone; a scan that somebody deleted stays deleted.

    Raises JournalError, RedisURLError. Waits for a server that does not answer, `timeout` seconds at most.
    """
    recovery = Recovery(journal, redis_url, look_seconds=None)
    try:
        recovery.start()
        return recovery.wait(timeout)
    finally:
        recovery.stop()


def replay(path: Path, redis_url: str, timeout: float | None = None) -> list[str]:
    """Publish one journal once more, also when its scan has been deleted; see `recover`.

    Raises JournalTargetError, JournalOwnedError, JournalError, RedisURLError.
    """
    recovery = Recovery(path.parent, redis_url, look_seconds=None)
    try:
        recovery.replay(path)
        return recovery.wait(timeout)
    finally:
        recovery.stop()
