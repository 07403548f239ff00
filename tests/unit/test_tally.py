"""What a publisher counts."""

from __future__ import annotations

from blissdata_bluesky.publish import RunFeed
from blissdata_bluesky.publish.tally import Tally


def test_queued_are_those_that_are_not_done() -> None:
    tally, feed = Tally(), RunFeed("run", "publisher", {}, None)
    for _ in range(3):
        tally.add()
    tally.finish(feed, 2, acknowledged=True)
    tally.add()
    assert (tally.given, tally.done, tally.queued, tally.peak) == (4, 2, 2, 3)
    assert feed.done == 2


def test_each_loss_is_told_once() -> None:
    tally, feed = Tally(), RunFeed("run", "publisher", {}, None)
    assert not tally.has_new_losses()
    tally.refuse()
    assert tally.has_new_losses()
    assert not tally.has_new_losses()
    tally.add()
    tally.finish(feed, 1, acknowledged=False)
    assert tally.has_new_losses()
    assert not tally.has_new_losses()
    assert tally.queued == 0
