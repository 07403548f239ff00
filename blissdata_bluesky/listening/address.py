"""Where a 0MQ proxy publishes, as people write it."""

from __future__ import annotations

import re
from typing import NoReturn

from .errors import ListenError

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/\s*]+):(?P<port>\d{1,5})")


def zmq_address(text: str) -> str:
    """The address as 0MQ takes it, of `HOST:PORT`, `[IPv6]:PORT`, `tcp://HOST:PORT` or `ipc:///path`.

    Raises ListenError.
    """
    protocol, _, place = text.strip().rpartition("://")
    if protocol == "ipc" and place:
        return f"ipc://{place}"
    found = _HOST_PORT.fullmatch(place)
    if protocol not in {"", "tcp"} or found is None or not 0 < int(found["port"]) < 2**16:
        _refuse(text)
    return f"tcp://{found['host']}:{int(found['port'])}"


def _refuse(text: str) -> NoReturn:
    raise ListenError(
        f"--zmq {text!r} is no address of a 0MQ proxy: write HOST:PORT, with an IPv6 address in brackets "
        "([::1]:5578), or ipc:///path; the port is the proxy's second one, at which it publishes"
    )
