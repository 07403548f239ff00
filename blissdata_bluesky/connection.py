"""From a Redis URL to a client: what may be shown of the URL, what is wrong with it, and with which limits we wait."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .errors import RedisURLError

HIDDEN = "..."
CONNECT_SECONDS = 3.0
REPLY_SECONDS = 10.0


class NoticingPool(redis.ConnectionPool):
    """Connections of one thread that raise redis.ConnectionError when one of them was lost between two commands.

    redis-py connects again silently: a server that has come back with older data would go unnoticed.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connected: set[int] = set()
        self._lost = False

    def make_connection(self) -> Any:
        connection = super().make_connection()
        connection.register_connect_callback(self._note)
        return connection

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        connection = super().get_connection(*arguments, **options)
        if self._lost:
            self._lost = False
            self.release(connection)
            raise redis.ConnectionError("the connection was lost and has been made anew")
        return connection

    def disconnect(self, *arguments: Any, **options: Any) -> None:
        self._connected.clear()
        super().disconnect(*arguments, **options)

    def _note(self, connection: Any) -> None:
        self._lost = self._lost or id(connection) in self._connected
        self._connected.add(id(connection))


def open_client(url: str, pool_class: type[redis.ConnectionPool] = redis.ConnectionPool, **options: Any) -> redis.Redis:
    """Return a client for `url` that has not connected yet.

    It speaks RESP2, whatever the URL says, and never repeats a command by itself: a pipeline whose reply was lost
    may have been executed. Connecting is given up after 3 s, waiting for a reply after 10 s; `options` of
    `redis.Redis` change that, and query parameters of the URL go before them.

    Raises RedisURLError.
    """
    defaults: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    pool = connection_pool(url, pool_class, **(defaults | options))
    pool.connection_kwargs["protocol"] = 2
    return redis.Redis.from_pool(pool)


def redact(url: str) -> str:
    """Return `url` without its password; the user name and harmless query parameters are kept.

    Of what is no URL, or a malformed one, in which a password could stand anywhere, "..." is left.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises on "redis://:password", where the host was forgotten
    except ValueError:
        return HIDDEN
    user, _, host = parts.netloc.rpartition("@")
    if "://" not in url or "@" in parts.path + parts.query + parts.fragment:
        return HIDDEN
    name = user.partition(":")[0]
    query = [(key, value) for key, value in parse_qsl(parts.query) if "pass" not in key.lower()]
    return _unsplit(parts._replace(netloc=f"{name}@{host}" if name else host), query)


def target(url: str) -> str:
    """Return the name of the Redis that `url` leads to: the same for every user, password and option.

    Another computer's loopback is another Redis: the name of this one stands for it.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{socket.gethostname()}{parts.path}"
    host = (parts.hostname or "").lower()
    if host in {"localhost", "::1"} or host.startswith("127."):
        host = socket.gethostname()
    database = parts.path.strip("/") or dict(parse_qsl(parts.query)).get("db", "0")
    return f"{parts.scheme}://{host}:{parts.port or 6379}/{database}"


def with_option(url: str, name: str, value: str) -> str:
    """Return `url` with the query parameter `name` set, in place of the one it may have."""
    parts = urlsplit(url)
    options = [(key, old) for key, old in parse_qsl(parts.query) if key != name]
    return _unsplit(parts, [*options, (name, value)])


def connection_pool(
    url: str, pool_class: type[redis.ConnectionPool] = redis.ConnectionPool, **options: object
) -> redis.ConnectionPool:
    """Return a pool of connections to `url`; nothing is connected yet. What the URL says goes before `options`.

    Raises RedisURLError when redis-py cannot use the URL.
    """
    try:
        _check_place(url)
        pool = pool_class.from_url(url, **options)
        # redis-py refuses unknown query parameters only when it makes a connection
        pool.make_connection()
    except (ValueError, TypeError, redis.RedisError) as error:
        shown = redact(url)
        # the reason may quote what could not be shown
        reason = "" if shown == HIDDEN else f": {error}"
        raise RedisURLError(
            f"{shown} is not a usable Redis URL{reason}; write redis://[user:password@]host:port (rediss:// with TLS) "
            "or unix:///path, with special characters of the password percent-encoded"
        ) from None
    return pool


def _check_place(url: str) -> None:
    # redis-py leaves out silently what it does not understand here, and would connect to some other place
    parts = urlsplit(url)
    database = parts.path.strip("/")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("the path of the socket is missing")
    if parts.scheme in ("redis", "rediss") and database and not database.isdigit():
        raise ValueError(f"{database!r} is not the number of a database")
    if parts.scheme in ("redis", "rediss") and not parts.hostname:
        raise ValueError("the host is missing")


def _unsplit(parts: SplitResult, query: list[tuple[str, str]]) -> str:
    # urlunsplit leaves out the // of unix:///path, which redis-py then refuses
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{urlencode(query)}" if query else "")
