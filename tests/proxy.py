"""A TCP proxy in front of a real server, which can spoil connections in chosen moments."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16
_TICK = 0.02
# so long must both sides be silent before a spoilt exchange counts as finished
_SILENCE = 0.06


class Proxy:
    """Forwards connections to `port` on loopback. The faults that are set apply once, to the next request that fits."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lost_reply: bytes | None = None
        self._cut: tuple[bytes, int] | None = None
        self.faults = 0
        """Faults that have happened."""

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def lose_reply(self, containing: bytes) -> None:
        """Let the server execute the next request that holds these bytes; cut the connection in place of the reply."""
        with self._lock:
            self._lost_reply = containing

    def cut_request(self, containing: bytes, after: int) -> None:
        """Forward only so many bytes of the next request that holds these bytes, then cut the connection."""
        with self._lock:
            self._cut = (containing, after)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            if select.select([self._listener], [], [], _TICK)[0]:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            while not self._closing.is_set():
                ready, _, _ = select.select([client, server], [], [], _TICK)
                if server in ready and not _forward(server, client):
                    return
                if client in ready and not self._request(client, server):
                    return

    def _request(self, client: socket.socket, server: socket.socket) -> bool:
        chunk = client.recv(_CHUNK)
        if (cut := self._take_cut(chunk)) is not None:
            server.sendall(chunk[:cut])
            _swallow(server)
            return False
        server.sendall(chunk)
        if self._take_lost_reply(chunk):
            while select.select([client], [], [], _SILENCE)[0] and _forward(client, server):
                pass
            _swallow(server)
            return False
        return bool(chunk)

    def _take_cut(self, chunk: bytes) -> int | None:
        with self._lock:
            if self._cut is None or self._cut[0] not in chunk:
                return None
            after, self._cut = self._cut[1], None
            self.faults += 1
            return after

    def _take_lost_reply(self, chunk: bytes) -> bool:
        with self._lock:
            if self._lost_reply is None or self._lost_reply not in chunk:
                return False
            self._lost_reply = None
            self.faults += 1
            return True


def _forward(source: socket.socket, target: socket.socket) -> bool:
    data = source.recv(_CHUNK)
    target.sendall(data)
    return bool(data)


def _swallow(server: socket.socket) -> None:
    while select.select([server], [], [], _SILENCE)[0] and server.recv(_CHUNK):
        pass
