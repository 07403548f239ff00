"""P1: `flush`, `close` and the end of the interpreter take no longer than the time they are given."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blissdata_bluesky import BlissdataWriter
from tests.proxy import Fault

from .bench import IMPATIENT, bench, spoilt, stopped
from .every_type import every_type
from .figure import Figure

# what the interpreter itself takes to end, with all that is imported
_INTERPRETER_SECONDS = 1.0

ENDINGS = {
    "hung": partial(spoilt, Fault.HANG),
    "refused": partial(spoilt, Fault.REFUSE),
    "stopped": stopped,
}

# What it says when it is about to end is compared with when it has ended.
_ENDING = """
    import logging, sys, time
    from benchmarks.faults.every_type import every_type
    from blissdata_bluesky import writer
    logging.getLogger("blissdata_bluesky").addHandler(logging.NullHandler())
    writer._EXIT_SECONDS = float(sys.argv[3])
    publish = writer.BlissdataWriter(sys.argv[1], journal=sys.argv[2])
    begun = every_type()
    publish(*begun[0])
    assert publish.flush(60)
    print("ready", flush=True)
    sys.stdin.readline()
    for document in begun[1:]:
        publish(*document)
    print(time.time(), flush=True)
"""


@dataclass(frozen=True)
class Ending:
    """Seconds that these took, beside the `timeout` that they were given, and whether a journal was left."""

    timeout: float
    flush: float
    close: float
    exit: float
    left: bool


def ending(kind: str, timeout: float) -> Ending:
    """`flush`, `close` and the end of the interpreter, with runs pending and a Redis that does not answer."""
    with tempfile.TemporaryDirectory() as name, bench(Path(name) / "redis") as there, ExitStack() as stack:
        directory = Path(name)
        writer = BlissdataWriter(there.proxy.url + IMPATIENT, journal=directory / "one")
        documents = every_type()
        writer(*documents[0])
        writer.flush(60)
        arguments = [there.proxy.url, str(directory / "other"), str(timeout)]
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(_ENDING), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the other process did not begin its run")
        with ENDINGS[kind](there):
            for document in documents[1:]:
                writer(*document)
            flush = _seconds(lambda: writer.flush(timeout))
            close = _seconds(lambda: writer.close(timeout))
            process.stdin.write("\n")
            process.stdin.flush()
            began = float(process.stdout.readline())
            process.wait(timeout + 60)
            exit_ = time.time() - began
        return Ending(timeout, flush, close, exit_, any((directory / "other").glob("*.journal")))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def figures(short: bool) -> list[Figure]:
    return [_figure(kind, ending(kind, 1.0 if short else 5.0)) for kind in ENDINGS]


def _figure(kind: str, end: Ending) -> Figure:
    longest = max(end.flush, end.close, end.exit)
    return Figure(
        "P1",
        f"Redis {kind}: flush, close, exit of the interpreter, each given {end.timeout:.0f} s",
        f"{end.flush:.2f} s, {end.close:.2f} s, {end.exit:.2f} s",
        "≤ the time given, + 1 s",
        longest <= end.timeout + _INTERPRETER_SECONDS and end.left,
    )
