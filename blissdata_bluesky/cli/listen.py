"""`blissdata-bluesky listen`: publishes the runs of RunEngines elsewhere, heard over bluesky's 0MQ proxy."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..connection import redact
from ..listening import Link, Listener, Serializer, Silence, Subscription, zmq_address
from ..mapping import DEFAULT_PATH_TEMPLATE, PathTemplate
from ..writer import DEFAULT_JOURNAL, BlissdataWriter
from .directories import a_directory

if TYPE_CHECKING:
    from rich.status import Status

_LOOK_SECONDS = 0.25
_CLOSE_SECONDS = 5.0
# what has arrived when it is to end is still taken, for so long
_DRAIN_SECONDS = 2.0


def listen(
    zmq: Annotated[str, typer.Option(help="HOST:PORT at which bluesky-0MQ-proxy publishes: its second port.")],
    redis: Annotated[str, typer.Option(help="URL of the Redis to publish to.")],
    journal: Annotated[
        Path, typer.Option(parser=a_directory, metavar="DIR", help="Directory of the journals.")
    ] = DEFAULT_JOURNAL,
    archive: Annotated[
        Path | None,
        typer.Option(parser=a_directory, metavar="DIR", help="Root of the archive: each run becomes a file there."),
    ] = None,
    path_template: Annotated[
        str, typer.Option(help="Path of a run's file below the archive, over its start document.")
    ] = DEFAULT_PATH_TEMPLATE,
    prefix: Annotated[str, typer.Option(help="Hear the Publishers with this prefix only.")] = "",
    serializer: Annotated[
        Serializer,
        typer.Option(
            help="How the Publishers write documents. `pickle` is bluesky's default: plain values are made of it, and "
            "nothing is run. `unsafe-pickle` lets whoever reaches the proxy run any code as you."
        ),
    ] = Serializer.PICKLE,
) -> None:
    """Publish the runs of RunEngines elsewhere, heard over bluesky's 0MQ proxy, until Ctrl-C."""
    address = zmq_address(zmq)
    _check_template(path_template)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # an exception might be raised where Python ignores it
        signal.signal(number, lambda *_: stop.set())
    with Subscription(address, prefix.encode()) as subscription, _status_line() as status:
        # only now, for the status line keeps the log apart from itself
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
        writer = BlissdataWriter(redis, journal=journal, archive=archive, path_template=path_template)
        listener = Listener(writer, serializer, typer.echo)
        try:
            listener.tell(_welcome(address, redis, journal, archive, serializer, prefix))
            _hear(subscription, listener, Silence(address, listener.tell, time.monotonic()), stop, status)
        finally:
            done = writer.close(_CLOSE_SECONDS)
    listener.tell(_farewell(listener, journal, done=done))


def _check_template(template: str) -> None:
    try:
        PathTemplate(template)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--path-template") from None


def _hear(
    subscription: Subscription, listener: Listener, silence: Silence, stop: threading.Event, status: Status | None
) -> None:
    """Until `stop` is set; then what has arrived is still taken, for a bounded time."""
    while not stop.is_set():
        _take(subscription, listener, silence, _LOOK_SECONDS)
        silence.look(time.monotonic())
        if status is not None:
            status.update(_state(listener, connected=silence.connected))
    deadline = time.monotonic() + _DRAIN_SECONDS
    while _take(subscription, listener, silence, 0) and time.monotonic() < deadline:
        pass


def _take(subscription: Subscription, listener: Listener, silence: Silence, timeout: float) -> bool:
    """Take what has arrived; whether there was anything."""
    found = False
    for item in subscription.take(timeout):
        found = True
        if isinstance(item, Link):
            silence.note(item, time.monotonic())
        else:
            silence.heard(time.monotonic())
            listener.receive(item)
    return found


@contextmanager
def _status_line() -> Iterator[Status | None]:
    """A line that is always the last one of a terminal; None when there is none."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        yield None
        return
    with console.status("") as status:
        yield status


def _state(listener: Listener, *, connected: bool) -> str:
    last = "" if listener.heard_at is None else f", the last {time.monotonic() - listener.heard_at:.0f} s ago"
    runs = f"runs that go on: {len(listener.open_runs)}, that ended: {listener.ended}"
    return (
        f"{'' if connected else 'no proxy; '}{runs}; documents: {listener.documents}, events: {listener.events}{last}"
    )


def _welcome(address: str, redis: str, journal: Path, archive: Path | None, serializer: Serializer, prefix: str) -> str:
    heard = f" with prefix {prefix!r}" if prefix else ""
    lines = [
        f"listening to {address}",
        f"  hear    documents as {serializer}{heard}",
        f"  publish to {redact(redis)}",
        f"  journal {journal}",
        *([f"  archive {archive}"] if archive else []),
    ]
    if serializer is Serializer.UNSAFE_PICKLE:
        lines.append("  beware  whoever can publish to this proxy can run any code as you")
    return "\n".join([*lines, "Ctrl-C ends it."])


def _farewell(listener: Listener, journal: Path, *, done: bool) -> str:
    lines = [
        f"{run.uid}  {run.name}  goes on, after {run.events} events; the next listener marks it as incomplete"
        for run in listener.open_runs
    ]
    refused = f", messages left out: {listener.refused}" if listener.refused else ""
    waiting = "Redis has all of it" if done else f"what Redis lacks is in {journal}"
    return "\n".join([*lines, f"runs that ended: {listener.ended}, events: {listener.events}{refused}; {waiting}"])
