"""A process that registers runs as soon as it is told to: for tests of several at once."""

from __future__ import annotations

import json
import sys
import uuid

from blissdata_bluesky.catalog import Registrar, Registration

_NAMESPACE = uuid.UUID("5f0c6f3e-0c06-4d0c-9a56-3a7e3c7c6a10")


def made_up(number: int, *, archived: bool) -> Registration:
    """The same run of this number in every process."""
    uid = str(uuid.uuid5(_NAMESPACE, str(number)))
    start = {"uid": uid, "scan_id": number, "plan_name": "scan", "time": 1e9 + number}
    if not archived:
        return Registration(uid, start)
    return Registration(uid, start, {"exit_status": "success"}, file=f"{number % 7}/{uid}.h5")


def main() -> None:
    """Read what to do from stdin, one line of JSON: uri, numbers, archived, at_once."""
    print("ready", flush=True)
    told = json.loads(sys.stdin.readline())
    runs = [made_up(number, archived=told["archived"]) for number in told["numbers"]]
    with Registrar(told["uri"]) as registrar:
        for first in range(0, len(runs), told["at_once"]):
            registrar.register(runs[first : first + told["at_once"]])


if __name__ == "__main__":
    main()
