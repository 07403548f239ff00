"""A TCP proxy in front of a real server, which can spoil connections in chosen moments, or for a while."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from types import TracebackType
from typing import Self

from blissdata_bluesky.server.embedded import HOST, free_port

_CHUNK = 1 << 16
_TICK = 0.02
# so long must both sides be silent before a spoilt exchange counts as finished
_SILENCE = 0.06
# a server that is there answers in that time, however busy the machine is
_PATIENCE = 30.0


class Fault(StrEnum):
    """What the proxy does to every connection until the fault ends."""

    REFUSE = "refuse"
    """Connections are closed, new ones refused."""
    HANG = "hang"
    """Connections are accepted, and nothing is read or answered; afterwards what was sent goes on."""
    DELAY = "delay"
    """Every command waits for `delay` seconds before it is forwarded."""
    RESET = "reset"
    """Connections are reset (RST), new ones as soon as they are made."""
    DROP = "drop"
    """The server executes what is sent; in place of the reply the connection is cut."""


class Proxy:
    """Forwards connections to `port` on loopback.

    `lose_reply`, `cut_request` and `hold_request` apply once, to the next request that fits; `begin` and `end` switch
    a fault.
    """

    def __init__(self, port: int, delay: float = 0.5) -> None:
        self._target = port
        self._delay = delay
        # not one of those that clients are given: a client could connect to itself while we refuse
        self._port = free_port()
        self._fault: Fault | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._deaf = threading.Event()
        self._accepting: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self._lost_reply: bytes | None = None
        self._cut: tuple[bytes, int] | None = None
        self._held: bytes | None = None
        self._meanwhile: Callable[[], object] | None = None
        self._released, self._delivered = threading.Event(), threading.Event()
        self.faults = 0
        """Replies that were lost, requests that were cut or held."""

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://{HOST}:{self._port}"

    @property
    def port(self) -> int:
        """The port for clients."""
        return self._port

    def lose_reply(self, containing: bytes, meanwhile: Callable[[], object] | None = None) -> None:
        """Let the server execute the next request that holds these bytes; cut the connection in place of the reply.

        `meanwhile` is called before the client can notice.
        """
        with self._lock:
            self._lost_reply, self._meanwhile = containing, meanwhile

    def cut_request(self, containing: bytes, after: int, meanwhile: Callable[[], object] | None = None) -> None:
        """Forward only so many bytes of the next request that holds these bytes, then cut the connection.

        `meanwhile` is called before the client can notice.
        """
        with self._lock:
            self._cut, self._meanwhile = (containing, after), meanwhile

    def hold_request(self, containing: bytes) -> None:
        """Keep the next request that holds these bytes until `release`; its connection hangs, others do not."""
        with self._lock:
            self._held = containing

    def release(self) -> None:
        """Deliver what is held, as a network does that was interrupted; return when the server has answered."""
        self._released.set()
        self._delivered.wait()

    def begin(self, fault: Fault) -> None:
        """From now on, for connections that are there and for new ones."""
        self._fault = fault
        if fault is Fault.REFUSE:
            self._stop_listening()

    def end(self) -> None:
        """Forward again."""
        self._fault = None
        if self._accepting is None:
            self._listen()

    @contextmanager
    def spoilt(self, fault: Fault) -> Iterator[None]:
        """`begin`, and `end` at the end of the block."""
        self.begin(fault)
        try:
            yield
        finally:
            self.end()

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._released.set()
        self._stop_listening()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        listener = socket.create_server((HOST, self._port), backlog=16)
        self._deaf.clear()
        self._accepting = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._accepting.start()

    def _stop_listening(self) -> None:
        self._deaf.set()
        if self._accepting is not None:
            self._accepting.join()
            self._accepting = None

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self._deaf.is_set():
                if select.select([listener], [], [], _TICK)[0]:
                    thread = threading.Thread(target=self._serve, args=(listener.accept()[0],), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection((HOST, self._target)) as server:
            while not self._closing.is_set():
                ready, _, _ = select.select([client, server], [], [], _TICK)
                fault = self._fault
                if fault is Fault.RESET:
                    _reset_when_closed(client)
                if fault in (Fault.RESET, Fault.REFUSE):
                    return
                if fault is Fault.HANG:
                    self._closing.wait(_TICK)
                    continue
                if server in ready and not _forward(server, client):
                    return
                if client in ready and not self._request(client, server):
                    return

    def _request(self, client: socket.socket, server: socket.socket) -> bool:
        if self._fault is Fault.DELAY:
            self._closing.wait(self._delay)
        chunk = client.recv(_CHUNK)
        if (cut := self._take_cut(chunk)) is not None:
            server.sendall(chunk[:cut])
            self._finish_spoilt(server)
            return False
        if self._take_held(chunk):
            self._released.wait()
            server.sendall(chunk)
            _swallow(server, _PATIENCE)
            self._delivered.set()
            return False
        server.sendall(chunk)
        if self._take_lost_reply(chunk):
            while select.select([client], [], [], _SILENCE)[0] and _forward(client, server):
                pass
            self._finish_spoilt(server)
            return False
        # what belongs to the same command is not delayed once more
        while self._fault is Fault.DELAY and select.select([client], [], [], 0)[0] and _forward(client, server):
            pass
        return bool(chunk)

    def _finish_spoilt(self, server: socket.socket) -> None:
        _swallow(server)
        with self._lock:
            meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()

    def _take_cut(self, chunk: bytes) -> int | None:
        with self._lock:
            if self._cut is None or self._cut[0] not in chunk:
                return None
            after, self._cut = self._cut[1], None
            self.faults += 1
            return after

    def _take_held(self, chunk: bytes) -> bool:
        with self._lock:
            if self._held is None or self._held not in chunk:
                return False
            self._held = None
            self.faults += 1
            return True

    def _take_lost_reply(self, chunk: bytes) -> bool:
        if self._fault is Fault.DROP and chunk:
            return True
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


def _swallow(server: socket.socket, patience: float = _SILENCE) -> None:
    """Until the server is silent; `patience`: seconds that its answer may take."""
    while select.select([server], [], [], patience)[0] and server.recv(_CHUNK):
        patience = _SILENCE


def _reset_when_closed(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
