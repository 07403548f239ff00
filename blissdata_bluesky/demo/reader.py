"""The second process: a blissdata client and a Tiled client, both unmodified, that read runs while they go on."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from .follow_blissdata import BlissdataFollower
from .follow_tiled import TiledFollower
from .tally import Report

_writing = threading.Lock()


def main() -> None:
    """Read the URLs from standard input, report on standard output, end when the input does."""
    urls = json.loads(sys.stdin.readline())
    blissdata, tiled = BlissdataFollower(urls["redis"]), TiledFollower(urls["tiled"], time.time())
    _write("ready")
    for follow in (blissdata.follow, tiled.follow):
        threading.Thread(target=_guarded, args=(follow,), daemon=True).start()
    sys.stdin.read()
    # the threads wait for data that will not come
    os._exit(0)


def _guarded(follow: Callable[[Callable[[Report], None]], None]) -> None:
    try:
        follow(lambda report: _write(report.to_json()))
    except Exception:  # noqa: BLE001 - whatever it is, the first process must hear of it
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _write(line: str) -> None:
    with _writing:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
