"""Row counts that hold for one client while it reads."""

from __future__ import annotations

import pytest

from blissdata_bluesky.tiled.pins import AGAIN_SECONDS, IDLE_SECONDS, LONGEST_SECONDS, Pins
from blissdata_bluesky.tiled.viewer import Viewer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Stream:
    rows = 10

    def __call__(self) -> int:
        return self.rows


class Client:
    """One that asks for the stream `s`; what it asks for is answered at once."""

    def __init__(self, pins: Pins, stream: Stream, name: str | None = "a") -> None:
        self.pins, self.stream, self.name = pins, stream, name

    def ask(self, route: str, part: object = None, stream: str = "s") -> int:
        viewer = Viewer(self.name, route, wanted=(route, part))
        try:
            return self.pins.rows(viewer, stream, self.stream)
        finally:
            viewer.answered()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pins(clock: Clock) -> Pins:
    return Pins(clock)


@pytest.fixture
def client(pins: Pins) -> Client:
    return Client(pins, Stream())


def test_a_listing_holds_for_what_follows(pins: Pins, client: Client) -> None:
    assert client.ask("search") == 10
    client.stream.rows = 20
    for route in ("metadata", "array", "table", "container"):
        assert client.ask(route) == 10
    assert Client(pins, client.stream, "b").ask("metadata") == 20
    assert client.ask("metadata", stream="other") == 20
    assert client.ask("search") == 20


def test_a_read_may_take_its_time_between_its_parts(clock: Clock, client: Client) -> None:
    """The requests of a stock client's `read()` of a stream with two arrays and a table."""
    client.ask("search")
    client.stream.rows = 20
    parts = [("metadata", "image"), ("metadata", "mca"), ("metadata", "internal"), ("table", 0), ("table", 1)]
    parts += [("metadata", "image"), ("array", "image"), ("metadata", "mca"), ("array", "mca")]
    for route, part in parts:
        clock.now += IDLE_SECONDS - 0.01
        assert client.ask(route, part) == 10


def test_a_pin_ends_when_it_is_not_used(clock: Clock, client: Client) -> None:
    client.ask("search")
    client.stream.rows = 20
    clock.now += IDLE_SECONDS + 0.01
    assert client.ask("table", 0) == 20


@pytest.mark.parametrize(("route", "times"), [("table", 1), ("array", 1), ("zarr", 1), ("metadata", 2)])
def test_who_asks_again_sees_new_rows_a_second_later(clock: Clock, client: Client, route: str, times: int) -> None:
    client.ask("search")
    client.stream.rows = 20
    for _ in range(times):
        assert client.ask(route, "x") == 10
    for _ in range(9):
        clock.now += AGAIN_SECONDS / 10
        assert client.ask(route, "x") == 10
    clock.now += 0.2 * AGAIN_SECONDS
    assert client.ask(route, "x") == 20


def test_a_held_table_is_never_pinned_by_itself(clock: Clock, client: Client) -> None:
    client.ask("search")
    client.ask("table", 0)
    clock.now += 2 * AGAIN_SECONDS
    for rows in (20, 30, 40):
        client.stream.rows = rows
        assert client.ask("table", 0) == rows


def test_who_comes_to_the_stream_anew_sees_all_of_it(pins: Pins, client: Client) -> None:
    client.ask("search")
    client.stream.rows = 20
    pins.drop(Viewer("b", "metadata"), "s")
    pins.drop(Viewer("a", "metadata"), "other")
    pins.drop(Viewer(None, "metadata"), "s")
    assert client.ask("table", 0) == 10
    pins.drop(Viewer("a", "metadata"), "s")
    assert client.ask("table", 1) == 20


def test_a_pin_holds_while_an_answer_is_on_its_way(clock: Clock, pins: Pins, client: Client) -> None:
    client.ask("search")
    client.stream.rows = 20
    slow = Viewer("a", "array", wanted="frames")
    assert pins.rows(slow, "s", client.stream) == 10
    clock.now += 3 * IDLE_SECONDS
    slow.answered()
    clock.now += IDLE_SECONDS / 2
    assert client.ask("metadata", "mca") == 10


def test_a_pin_ends_in_the_end(clock: Clock, client: Client) -> None:
    client.ask("search")
    client.stream.rows = 20
    while clock.now < LONGEST_SECONDS - IDLE_SECONDS:
        clock.now += IDLE_SECONDS / 2
        assert client.ask("array", clock.now) == 10
    clock.now = LONGEST_SECONDS + 0.1
    assert client.ask("array", "last") == 20


def test_clients_without_cookies_see_everything(pins: Pins) -> None:
    client = Client(pins, Stream(), None)
    client.ask("search")
    client.stream.rows = 20
    assert client.ask("array") == 20


def test_pins_do_not_pile_up(clock: Clock, pins: Pins, client: Client) -> None:
    for index in range(5000):
        clock.now += 0.1
        Client(pins, client.stream, f"client {index}").ask("search")
    assert len(pins._pins) <= 1001
