"""A RunEngine in a process of its own that publishes by bluesky's 0MQ Publisher, told on stdin what to do.

Each line is a command; `done` is printed when it is carried out. What was emitted is appended to a file, as pickles.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import msgpack
import msgpack_numpy
import numpy as np
from bluesky.callbacks.zmq import Publisher
from bluesky.run_engine import RunEngine
from event_model import compose_run
from ophyd.sim import SynSignal, det, motor

PAGE = Path(__file__).parents[2] / "docs/how-to/subscribe.md"


def documented(document: Any) -> bytes:
    """As the page on subscribing tells for what msgpack does not know."""
    block = next(
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def plain" in block
    )
    names: dict[str, Any] = {}
    exec(block, names)
    return bytes(names["serialize"](document))


SERIALIZERS: dict[str, Callable[[Any], bytes]] = {
    "documented": documented,
    "pickle": pickle.dumps,
    "msgpack": lambda document: msgpack.packb(document, default=msgpack_numpy.encode),
    "json": lambda document: json.dumps(document, default=lambda value: value.tolist()).encode(),
}
PROBE = "probe"
# how the uids of probes begin
PROBE_UID = "00000000-0000-4000-8000-"


def probe_uid(number: int) -> str:
    return f"{PROBE_UID}{number:012x}"


class Engine:
    """What the commands do."""

    def __init__(self, address: str, record: Path, prefix: str, serializer: str) -> None:
        self._publisher = Publisher(address, prefix=prefix.encode(), serializer=SERIALIZERS[serializer])
        self._record = record.open("ab")
        self._spectrum = SynSignal(name="spectrum", func=lambda: np.arange(5) * motor.position)
        self._engine = RunEngine({}, loop=asyncio.new_event_loop())
        self._engine.subscribe(self._give)

    def _give(self, name: str, document: dict[str, Any]) -> None:
        pickle.dump((name, document), self._record)
        self._record.flush()
        self._publisher(name, document)

    def probe(self, number: str) -> None:
        """A run without anything: who hears it hears what follows."""
        run = compose_run(uid=probe_uid(int(number)), metadata={"plan_name": PROBE})
        self._publisher("start", run.start_doc)
        self._publisher("stop", run.compose_stop())

    def scan(self, points: str) -> None:
        """A scan, with a baseline."""
        plan = bp.scan([det, self._spectrum], motor, 0, 1, int(points))
        self._engine(bpp.baseline_wrapper(plan, [motor]), scan_id=int(points))

    def asynchronous(self, directory: str) -> None:
        """Enums and tables of ophyd-async: as readings, as configuration, and in the metadata."""
        from ophyd_async.testing import ExampleEnum

        from .simulated import TABLE, Devices

        devices = Devices(Path(directory))
        devices.connect()
        metadata = {"mode": ExampleEnum.A, "modes": [ExampleEnum.B], "more": {"table": TABLE}}
        self._engine(bp.count([devices.everything, devices.configured, det], 3), **metadata)

    def stepwise(self, points: str, dark: str = "") -> None:
        """A run whose points come one by one, one for each further line; then a stream `dark`, if it is wanted."""

        @bpp.run_decorator(md={"plan_name": "stepwise"})
        def plan() -> Iterator[Any]:
            for _ in range(int(points)):
                yield from bps.trigger_and_read([det, motor])
                self._wait()
            if dark:
                yield from bps.trigger_and_read([det], name="dark")
                self._wait()
                yield from bps.trigger_and_read([det], name="dark")

        self._engine(plan())

    def burst(self, events: str, size: str) -> None:
        """A run of many large events, as fast as they can be made, and of another one a step later."""
        run = compose_run(uid=str(uuid.uuid4()), metadata={"plan_name": "burst"})
        self._give("start", run.start_doc)
        key = {"dtype": "array", "dtype_numpy": "<f8", "shape": [int(size)], "source": "s"}
        stream = run.compose_descriptor(name="primary", data_keys={"large": key})
        self._give("descriptor", stream.descriptor_doc)
        for row in range(int(events) + 1):
            if row == int(events):
                self._wait()
            data = {"large": np.full(int(size), float(row))}
            self._give("event", stream.compose_event(data=data, timestamps={"large": 1.0}, validate=False))
        self._give("stop", run.compose_stop())

    def _wait(self) -> None:
        """Say that a step is done, and wait for the next empty line; probes may come before."""
        print("done", flush=True)
        while line := sys.stdin.readline().strip():
            self.probe(line.split()[1])
            print("done", flush=True)

    def raw(self, message: str) -> None:
        """Bytes, in hexadecimal digits, that no Publisher sends."""
        self._publisher._socket.send(bytes.fromhex(message))


def main(address: str, record: str, prefix: str, serializer: str) -> None:
    engine = Engine(address, Path(record), prefix, serializer)
    print("done", flush=True)
    for line in iter(sys.stdin.readline, ""):
        command, *arguments = line.split()
        getattr(engine, command)(*arguments)
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
