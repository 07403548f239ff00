"""What a 0MQ proxy of bluesky publishes, and whether there is one."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, NamedTuple, Self

from .errors import ListenError

# 0MQ's own 1000 are a blink of a fast flyer; what arrives is taken within microseconds
_MOST_WAITING = 100_000
# a computer that loses its power says nothing
_HEARTBEAT_MS, _SILENCE_MS = 5_000, 20_000
_LONGEST_RECONNECT_MS = 2_000
_MOST_AT_ONCE = 1_000


class Link(Enum):
    """What has become of the connection."""

    MADE = auto()
    LOST = auto()
    REFUSED = auto()
    """Something answers that is no publisher: another protocol, or the proxy's other port."""


class Message(NamedTuple):
    """A document on its way (`bluesky.callbacks.zmq.Publisher`)."""

    name: str
    payload: bytes


class Malformed(NamedTuple):
    """Something that no Publisher sent."""

    reason: str


class Subscription:
    """Subscribed to one proxy. It connects when it can, and again when the proxy comes back: 0MQ sees to that."""

    def __init__(self, address: str, prefix: bytes = b"") -> None:
        """`address`: see `zmq_address`. `prefix`: hear Publishers with this prefix only; b"": all.

        Raises ListenError.
        """
        zmq = _zmq()
        if b" " in prefix:
            raise ListenError(f"--prefix {prefix.decode()!r}: a Publisher's prefix has no space")
        self._prefix = prefix
        self._context = zmq.Context()
        self._socket = socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, 1)
        socket.setsockopt(zmq.RCVHWM, _MOST_WAITING)
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _SILENCE_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _LONGEST_RECONNECT_MS)
        self._links = {
            zmq.EVENT_HANDSHAKE_SUCCEEDED: Link.MADE,
            zmq.EVENT_DISCONNECTED: Link.LOST,
            zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: Link.REFUSED,
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: Link.REFUSED,
            zmq.EVENT_HANDSHAKE_FAILED_AUTH: Link.REFUSED,
        }
        self._monitor = socket.get_monitor_socket(sum(self._links))
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        socket.subscribe(prefix + b" " if prefix else b"")
        try:
            socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise ListenError(f"{address} cannot be listened to: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, and of what has arrived and was not taken."""
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        self._context.term()

    def take(self, timeout: float) -> Iterator[Message | Malformed | Link]:
        """What has arrived, up to a bound; waits up to `timeout` seconds for something."""
        ready = dict(self._poller.poll(timeout * 1000))
        if self._monitor in ready:
            yield from self._news()
        if self._socket in ready:
            yield from self._messages()

    def _news(self) -> Iterator[Link]:
        from zmq.utils.monitor import recv_monitor_message

        while self._monitor.poll(0):
            event: Any = recv_monitor_message(self._monitor)
            if (link := self._links.get(event["event"])) is not None:
                yield link

    def _messages(self) -> Iterator[Message | Malformed]:
        zmq = _zmq()
        for _ in range(_MOST_AT_ONCE):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield _message(parts)


def _message(parts: list[bytes]) -> Message | Malformed:
    if len(parts) == 1 and len(words := parts[0].split(b" ", 2)) == 3:
        try:
            return Message(words[1].decode(), words[2])
        except UnicodeDecodeError:
            pass
    return Malformed("it is no message of bluesky's Publisher (prefix, name, document)")


def _zmq() -> Any:
    try:
        import zmq
    except ImportError as error:
        raise ListenError('pyzmq is not installed: pip install "blissdata-bluesky[zmq]"') from error
    return zmq
