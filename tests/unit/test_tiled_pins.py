"""Row counts that hold for one client while it reads."""

from __future__ import annotations

from blissdata_bluesky.tiled.pins import IDLE_SECONDS, LONGEST_SECONDS, Pins


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Stream:
    rows = 10

    def __call__(self) -> int:
        return self.rows


def test_a_listing_holds_for_what_follows() -> None:
    clock, stream = Clock(), Stream()
    pins = Pins(clock)
    assert pins.rows("a", "s", "search", stream) == 10
    stream.rows = 20
    for route in ("metadata", "array", "table", "container"):
        assert pins.rows("a", "s", route, stream) == 10
    assert pins.rows("b", "s", "metadata", stream) == 20
    assert pins.rows("a", "other", "metadata", stream) == 20
    assert pins.rows("a", "s", "search", stream) == 20


def test_a_pin_ends_when_it_is_not_used() -> None:
    clock, stream = Clock(), Stream()
    pins = Pins(clock)
    pins.rows("a", "s", "search", stream)
    stream.rows = 20
    clock.now = IDLE_SECONDS - 0.01
    assert pins.rows("a", "s", "array", stream) == 10
    clock.now += IDLE_SECONDS - 0.01
    assert pins.rows("a", "s", "table", stream) == 10
    # a table request did not prolong it
    clock.now += 0.1
    assert pins.rows("a", "s", "table", stream) == 20


def test_a_pin_ends_after_a_minute() -> None:
    clock, stream = Clock(), Stream()
    pins = Pins(clock)
    pins.rows("a", "s", "search", stream)
    stream.rows = 20
    while clock.now < LONGEST_SECONDS - 1:
        clock.now += 0.9
        assert pins.rows("a", "s", "array", stream) == 10
    clock.now += 1.1
    assert pins.rows("a", "s", "array", stream) == 20


def test_clients_without_cookies_see_everything() -> None:
    stream = Stream()
    pins = Pins()
    pins.rows(None, "s", "search", stream)
    stream.rows = 20
    assert pins.rows(None, "s", "array", stream) == 20


def test_pins_do_not_pile_up() -> None:
    clock, stream = Clock(), Stream()
    pins = Pins(clock)
    for index in range(5000):
        clock.now += 0.01
        pins.rows(f"client {index}", "s", "search", stream)
    assert len(pins._pins) <= 1001
