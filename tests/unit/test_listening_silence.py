"""What is said when there is nothing to hear."""

from __future__ import annotations

import pytest

from blissdata_bluesky.listening import Link, Silence

from ..system.published import levels


def minutes_of(silence: Silence, begin: float, seconds: float) -> None:
    for second in range(int(seconds)):
        silence.look(begin + second)


def test_nothing_answers(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    silence = Silence("tcp://host:1", told.append, 0.0)
    minutes_of(silence, 0, 5)
    assert levels(caplog) == []
    minutes_of(silence, 5, 1)
    assert levels(caplog) == ["WARNING"]
    minutes_of(silence, 6, 86400)
    # after 5 s, 1 min, 2, 4 … 32, and then every hour: for a day
    assert len(levels(caplog)) == 7 + 22
    assert told == []


def test_nothing_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    silence = Silence("tcp://host:1", told.append, 0.0)
    silence.note(Link.MADE, 1.0)
    assert told == ["connected to tcp://host:1"]
    minutes_of(silence, 1, 200)
    assert told[1:] == [
        "nothing was heard for 1 min; tcp://host:1 answers",
        "nothing was heard for 3 min; tcp://host:1 answers",
    ]
    silence.heard(300.0)
    minutes_of(silence, 300, 60)
    assert len(told) == 3
    minutes_of(silence, 360, 1)
    assert len(told) == 4
    assert levels(caplog) == []


def test_the_proxy_goes_and_comes(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    silence = Silence("tcp://host:1", told.append, 0.0)
    for link in (Link.MADE, Link.MADE, Link.LOST, Link.MADE):
        silence.note(link, 1.0)
    assert levels(caplog) == ["WARNING"]
    assert "is gone" in caplog.text
    assert len(told) == 2


@pytest.mark.parametrize("links", [[Link.LOST], [Link.REFUSED, Link.LOST] * 3])
def test_what_answers_is_no_proxy(caplog: pytest.LogCaptureFixture, links: list[Link]) -> None:
    silence = Silence("tcp://host:1", lambda line: None, 0.0)
    for link in links:
        silence.note(link, 1.0)
    assert levels(caplog) == ["ERROR"]
    assert "(out), not the one that RunEngines publish to" in caplog.text
