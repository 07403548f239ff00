"""How many documents a publisher was given, and how many of them it is done with."""

from __future__ import annotations

from dataclasses import dataclass

from .feed import RunFeed


@dataclass(slots=True)
class Tally:
    """Counts documents over all runs: the callback's thread those that are given, the publisher's what becomes of them.

    `RunFeed` has the same counts for its run.
    """

    given: int = 0
    """Documents that are in memory or in a journal."""
    done: int = 0
    """Those of them that Redis has acknowledged, or that were given up."""
    peak: int = 0
    """The most that were queued at any time."""
    _refused: int = 0
    _given_up: int = 0
    _lost_before: int = 0

    @property
    def queued(self) -> int:
        """Documents that were given and are not done."""
        return self.given - self.done

    def add(self) -> None:
        """One more is given."""
        self.given += 1
        self.peak = max(self.peak, self.queued)

    def refuse(self) -> None:
        """One could not be given."""
        self._refused += 1

    def finish(self, feed: RunFeed, documents: int, *, acknowledged: bool) -> None:
        """So many more of a run are done: `acknowledged` by Redis, or given up."""
        feed.done += documents
        self.done += documents
        self._given_up += 0 if acknowledged else documents

    def has_new_losses(self) -> bool:
        """Whether documents were given up, or could not be given, since this was asked last."""
        lost = self._refused + self._given_up
        before, self._lost_before = self._lost_before, lost
        return lost > before
