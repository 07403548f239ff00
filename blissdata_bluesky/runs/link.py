"""The connection of `RedisRuns`: answers as Redis gives them, failures as errors of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..connection import CONNECT_SECONDS, REPLY_SECONDS, connection_pool
from ..errors import RunUnavailableError

Command: TypeAlias = tuple[str | int, ...]


class RedisLink:
    """Pipelines of commands that only read.

    Thread-safe. Connections are made when needed, and again after a loss: a reading command may be repeated, so one
    that finds its connection cut is tried once more.
    """

    def __init__(self, target: redis.Redis | str) -> None:
        """`target`: a URL, or a client, whose settings are taken over. Raises RedisURLError."""
        pool = connection_pool(target) if isinstance(target, str) else target.connection_pool
        options: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": REPLY_SECONDS,
            **_settings(pool),
            "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            "decode_responses": False,
            "protocol": 2,
        }
        self._pool = redis.ConnectionPool(connection_class=pool.connection_class, **options)
        self._client = redis.Redis(connection_pool=self._pool)
        # redis-py makes a dict of each entry, which takes twice as long as all the rest
        for command in ("XRANGE", "XREVRANGE", "XREAD"):
            self._client.set_response_callback(command, _as_it_is)

    def ask(self, commands: Sequence[Command], about: str) -> list[Any]:
        """The answers to `commands`, which are sent in one pipeline.

        Raises RunUnavailableError, which names `about`, when Redis does not answer or refuses.
        """
        if not commands:
            return []
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                answers: list[Any] = pipeline.execute()
                return answers
        except redis.RedisError as error:
            raise RunUnavailableError(
                f"{about}: Redis at {self.place} does not answer, or refuses ({error}); try again when it is mended"
            ) from error

    @property
    def longest_block(self) -> float:
        """Seconds that a command may block: it has to end before its reply counts as lost."""
        return float(self._pool.connection_kwargs["socket_timeout"]) / 2

    @property
    def place(self) -> str:
        """Where Redis is, without user and password."""
        options = self._pool.connection_kwargs
        return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")

    def close(self) -> None:
        """Close all connections; the next question opens new ones."""
        self._pool.disconnect()


def _settings(pool: redis.ConnectionPool) -> dict[str, Any]:
    # a client with RESP 3 also has handlers of its own there, which RESP 2 knows nothing of
    return {
        name: value
        for name, value in pool.connection_kwargs.items()
        if value is not None and "maint_notifications" not in name
    }


def _as_it_is(answer: Any, **_: Any) -> Any:
    return answer
