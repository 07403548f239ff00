"""A process that reads a growing run until its time is over, but some times at least, and prints what it saw as JSON."""

from __future__ import annotations

import json
import sys
import time

from tiled.client import from_uri

_LEAST_ROUNDS = 3


def main(url: str, uid: str, seconds: float) -> None:
    """Read in turn everything whose length might disagree."""
    client = from_uri(url)
    failures: list[str] = []
    lengths: dict[str, list[int]] = {"stream": [], "table": [], "column": [], "array": [], "documents": []}
    delays: list[float] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or len(lengths["documents"]) + len(failures) < _LEAST_ROUNDS:
        try:
            stream = client[uid]["primary"]
            data = stream.read()
            lengths["stream"].append(data.sizes["time"])
            delays.append(time.time() - float(data["number"].values[-1]))
            assert (data["spectrum"].values[:, 0] == data["integer"].values).all()
            lengths["table"].append(len(stream.base["internal"].read()))
            lengths["column"].append(len(stream["integer"].read()))
            array = stream["spectrum"]
            time.sleep(0.05)
            lengths["array"].append(len(array.read()))
            assert array[-1][0] == len(array) - 1
            lengths["documents"].append(sum(name == "event" for name, _ in client[uid].documents()))
        except Exception as error:  # noqa: BLE001
            failures.append(repr(error))
    print(json.dumps({"failures": failures, "lengths": lengths, "delays": delays}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
