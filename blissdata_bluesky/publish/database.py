"""Connecting to the Redis behind a URL, and making sure that blissdata can be used on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from blissdata.redis_engine.store import DataStore
from redis.exceptions import AuthenticationWrongNumberOfArgsError, NoPermissionError, OutOfMemoryError

from ..connection import CONNECT_SECONDS, REPLY_SECONDS, open_client, redact, with_option
from ..errors import (
    RedisDatabaseError,
    RedisModulesError,
    RedisPermissionError,
    RedisTargetError,
    RedisUnreachableError,
)
from ..protocol import (
    DOCUMENTS_PREFIX,
    PROTOCOL_KEY,
    PROTOCOL_VERSION,
    SCAN_PREFIX,
    STREAM_PREFIX,
    scan_key,
    state_pk,
    stream_key,
)

# another process may be initialising the database just now, which takes it some 10 ms
GRACE_SECONDS = 1.0
# one command of each module: a user who may not list modules may ask for commands
MODULE_COMMANDS = {"ReJSON": "JSON.SET", "search": "FT.SEARCH"}
# a database that holds these only has no scan that they could belong to
_REMAINS = (STREAM_PREFIX.encode(), DOCUMENTS_PREFIX.encode())
_INDEX = b"esrf:scan:index:"
_MOST_REMAINS = 100_000
# no run ever has this uid: what is written to its keys is written nowhere
NO_RUN = "00000000-0000-0000-0000-000000000000"


def connect(url: str, *, write: bool = False, **options: Any) -> redis.Redis:
    """Return a client for `url` whose database is ready for blissdata: `open_client`, then `require_ready`.

    Raises what these two raise.
    """
    client = open_client(url, **options)
    try:
        require_ready(client, url, write=write)
    except BaseException:
        client.close()
        raise
    return client


def require_ready(client: redis.Redis, url: str, *, write: bool = False) -> None:
    """Check that the database behind `client` can be used by blissdata; initialise it when it is empty.

    Any number of processes may do so at the same time. `url` is the one that `client` was opened with. With `write`
    it is also checked, without changing anything, that the user may write scans.

    Raises
    ------
    RedisUnreachableError
        Nothing answers, or not yet.
    RedisPermissionError
        The user, the password or a needed command was refused.
    RedisModulesError
        The server lacks the JSON or the Search module.
    RedisDatabaseError
        The database holds something else, or another version of blissdata's protocol.
    RedisTargetError
        The server refuses for another reason, for example as a read-only replica.
    """
    refuse_other_databases(client, url)
    with named_errors(url):
        version = client.get(PROTOCOL_KEY)
        if version is None:
            _require_modules(client, url)
            version = _initialise(client, url)
        if version != str(PROTOCOL_VERSION).encode():
            raise RedisDatabaseError(
                f"the database at {redact(url)} has version {version.decode(errors='replace')} of blissdata's "
                f"protocol, not {PROTOCOL_VERSION}: install the blissdata and the blissdata-bluesky that fit it, "
                "or use another Redis"
            )
        if write:
            _require_writing(client)


def refuse_other_databases(client: redis.Redis, url: str) -> None:
    """Raises RedisDatabaseError when `url` leads to another database than 0."""
    if client.connection_pool.connection_kwargs.get("db"):
        raise RedisDatabaseError(f"{redact(url)} is not database 0, the only one that can be searched: leave it out")


@contextmanager
def named_errors(url: str) -> Iterator[None]:
    """Turn what redis-py raises into the errors of this package that name `url` and a remedy."""
    place = redact(url)
    try:
        yield
    except (redis.AuthenticationError, AuthenticationWrongNumberOfArgsError) as error:
        raise RedisPermissionError(
            f"{place} refused the login ({error}): give the right user name and password in the URL, "
            "redis://user:password@host:port"
        ) from error
    except NoPermissionError as error:
        raise RedisPermissionError(
            f"{place} refused a command ({error}): let its administrator allow it (ACL SETUSER), or use another user"
        ) from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise RedisUnreachableError(
            f"nothing usable answers at {place} ({error}): start the server there, or correct the URL"
        ) from error
    except redis.RedisError as error:
        raise RedisTargetError(
            f"{place} cannot be used ({error}): it must be a stand-alone Redis or Valkey that can be written to"
        ) from error


def data_store(url: str, *, init_db: bool = False) -> DataStore:
    """Return blissdata's own reader of `url`, with RESP2 and the time-outs of `open_client`.

    Raises RedisDatabaseError when the database is not ready, or with `init_db` when it is not empty.
    """
    place = redact(url)
    for name, value in (
        ("socket_connect_timeout", CONNECT_SECONDS),
        ("socket_timeout", REPLY_SECONDS),
        ("protocol", 2),
    ):
        url = with_option(url, name, str(value))
    try:
        return DataStore(url, init_db=init_db)
    except RuntimeError as error:
        # blissdata quotes the URL with its password
        raise RedisDatabaseError(str(error).replace(url, place)) from None


def _require_modules(client: redis.Redis, url: str) -> None:
    known = client.execute_command("COMMAND INFO", *MODULE_COMMANDS.values())
    missing = [name for name, answer in zip(MODULE_COMMANDS, known, strict=True) if not answer]
    if missing:
        raise RedisModulesError(
            f"the server at {redact(url)} lacks the modules {' and '.join(missing)}: use Redis 8, Redis Stack, "
            "or the server that `blissdata-bluesky redis` starts"
        )


def _require_writing(client: redis.Redis) -> None:
    # a full memory is no permanent fault: the memory tracker makes room
    with suppress(OutOfMemoryError), client.pipeline(transaction=False) as pipe:
        pipe.xadd(stream_key(state_pk(NO_RUN)), {"state": 0}, nomkstream=True)
        pipe.json().set(scan_key(NO_RUN), "$", 0, xx=True)
        pipe.execute()


def _initialise(client: redis.Redis, url: str) -> bytes:
    """Initialise an empty database, or wait for the process that does so; return the protocol version."""
    deadline = time.monotonic() + GRACE_SECONDS
    reason: Exception | None = None
    while time.monotonic() < deadline:
        _remove_remains(client, *_REMAINS)
        if not client.dbsize():
            try:
                data_store(url, init_db=True)
            except NoPermissionError:
                raise
            except (RedisDatabaseError, redis.ResponseError) as error:
                # lost a race, or not possible here: the next look at the database will tell
                reason = error
        version = client.get(PROTOCOL_KEY)
        if version is not None:
            return bytes(version)
        time.sleep(0.01)
    # no other process has finished it in this time: whoever began died
    if _remove_remains(client, *_REMAINS, _INDEX):
        data_store(url, init_db=True)
        return bytes(client.get(PROTOCOL_KEY) or b"")
    raise RedisDatabaseError(_uninitialised(client, url, reason)) from reason


def _remove_remains(client: redis.Redis, *prefixes: bytes) -> bool:
    """Remove what came into an emptied database on its heels, when there is nothing else; whether it was so.

    Rows and documents whose scans it has lost, and what an initialisation has made that was broken off.
    """
    if client.dbsize() > _MOST_REMAINS:
        return False
    keys = list(client.scan_iter(count=_MOST_REMAINS))
    if not keys or not all(key.startswith(prefixes) for key in keys):
        return False
    client.unlink(*keys)
    return True


def _uninitialised(client: redis.Redis, url: str, reason: Exception | None) -> str:
    keys = client.dbsize()
    if not keys:
        return (
            f"the empty database at {redact(url)} could not be initialised for blissdata ({reason}): "
            "use a server that can be written to"
        )
    if next(client.scan_iter(SCAN_PREFIX + "?" * 26, count=_MOST_REMAINS), None) is not None:
        return (
            f"the database at {redact(url)} holds scans and lacks the key {PROTOCOL_KEY}: if nobody changed anything else "
            f"there, give it back with SET {PROTOCOL_KEY} {PROTOCOL_VERSION}"
        )
    return (
        f"the database at {redact(url)} was not initialised for blissdata and holds other data ({keys} keys, one is "
        f"{(client.randomkey() or b'')[:60].decode(errors='replace')!r}): use a Redis of its own, or empty this one "
        "(FLUSHALL) if nobody needs what it holds"
    )
