"""What `serve` tries before it starts: uvicorn would tell of a fault with a traceback, or not at all."""

from __future__ import annotations

import asyncio
import errno
import socket

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from tiled.alembic_utils import DatabaseUpgradeNeeded
from tiled.utils import ensure_specified_sql_driver

from ..catalog import Catalog
from ..connection import HIDDEN, redact
from ..errors import CatalogError, TiledServerError

DATABASES = ("sqlite", "postgresql")
CONNECT_SECONDS = 15.0


def check_address(host: str, port: int) -> None:
    """Raise TiledServerError when nothing can listen there."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        bound = [_can_bind(family, address) for family, _, _, _, address in found]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise TiledServerError(_not_ours(host, port, reason)) from error
    if not any(bound):
        raise TiledServerError(_not_ours(host, port, "not an address of this computer"))


def check_catalog(catalog: str) -> None:
    """Open the database and make what is missing in it. Raises CatalogError."""
    url = _url(catalog)
    try:
        asyncio.run(_prepare(catalog))
    except DatabaseUpgradeNeeded as error:
        raise CatalogError(
            f"the catalog {_shown(url, catalog)} was made by another version of Tiled: "
            "run `tiled catalog upgrade-database` on it, or give a new one"
        ) from error
    # each driver has errors of its own, of no common class
    except Exception as error:
        remedy = (
            "give a SQLite file, or a new one in a directory that exists and can be written to"
            if url.get_backend_name() == "sqlite"
            else "start PostgreSQL there, or correct host, user, password and database of the URL"
        )
        raise CatalogError(
            f"the catalog {_shown(url, catalog)} cannot be used ({_reason(error, url)}): {remedy}"
        ) from error


def _not_ours(host: str, port: int, reason: str) -> str:
    return (
        f"Tiled cannot listen on port {port} of {host} ({reason}): give a free --port (0 finds one), "
        "and an address of this computer as --host"
    )


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    """Whether this computer has the address. Raises OSError when it has it, but it cannot be listened at."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True


def _url(catalog: str) -> URL:
    try:
        url = make_url(ensure_specified_sql_driver(catalog))
        if url.get_backend_name() in DATABASES:
            return url
        reason = f"{url.get_backend_name()} is not supported"
    except Exception as error:
        # the reason may quote a part of the password
        raise CatalogError(_not_usable(catalog, "it cannot be parsed")) from error
    raise CatalogError(_not_usable(catalog, reason))


def _not_usable(catalog: str, reason: str) -> str:
    shown = redact(catalog)
    return (
        f"{'what --catalog gives' if shown == HIDDEN else shown} is not a usable catalog ({reason}): give a file, sqlite:///file or "
        "postgresql://user:password@host:port/database, with special characters of the password percent-encoded"
    )


async def _prepare(catalog: str) -> None:
    listed = Catalog(catalog, None)
    try:
        await asyncio.wait_for(listed.startup(), CONNECT_SECONDS)
    finally:
        await listed.shutdown()


def _shown(url: URL, catalog: str) -> str:
    if url.get_backend_name() == "sqlite":
        return url.database or "in memory"
    shown = redact(catalog)
    return f"postgresql://{HIDDEN}" if shown == HIDDEN else shown


def _reason(error: BaseException, url: URL) -> str:
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS:.0f} s"
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].replace(url.password, HIDDEN) if url.password else lines[0]
