"""What is wrong with a catalog's database, in one sentence that shows no password."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from tiled.alembic_utils import DatabaseUpgradeNeeded
from tiled.utils import ensure_specified_sql_driver

from ..errors import CatalogError

DATABASES = ("sqlite", "postgresql")
_HIDDEN = "..."


def check_uri(catalog: str | Path) -> None:
    """Raise CatalogError for what names no SQLite file and no PostgreSQL database."""
    if catalog == "":
        raise CatalogError(_not_usable("what is given as catalog", "it is empty"))
    try:
        url = _url(catalog)
        backend = url.get_backend_name()
    except Exception as error:
        # the reason may quote a part of the password
        raise CatalogError(_not_usable("what is given as catalog", "it cannot be parsed")) from error
    if backend not in DATABASES:
        raise CatalogError(_not_usable(shown(catalog), f"{backend} is not supported"))
    if backend == "sqlite" and url.database and Path(url.database).is_dir():
        raise CatalogError(f"the catalog {url.database} is a directory: give a file, {url.database}/catalog.db")


def try_file(catalog: str | Path) -> None:
    """Raise sqlite3.Error for a SQLite file that cannot be opened: aiosqlite would fail in a thread that it forgets."""
    url = _url(catalog)
    if url.get_backend_name() == "sqlite" and url.database and "uri" not in url.query:
        sqlite3.connect(url.database).close()


def as_catalog_error(error: BaseException, catalog: str | Path) -> CatalogError:
    """The sentence for what a database raised; `catalog` has passed `check_uri`."""
    url, place = _url(catalog), shown(catalog)
    if isinstance(error, DatabaseUpgradeNeeded):
        return CatalogError(
            f"the catalog {place} was made by another version of Tiled: "
            "run `tiled catalog upgrade-database` on it, or give a new one"
        )
    if _is_damaged(error):
        return CatalogError(
            f"the catalog {place} is damaged, or another kind of file ({_reason(error, url)}): end the programs that use "
            "it and move it away, with its -wal and -shm; `blissdata-bluesky register` makes it again from the files of "
            "the archive. If it is something else, give another file"
        )
    remedy = (
        "give a SQLite file, or a new one in a directory that exists and can be written to"
        if url.get_backend_name() == "sqlite"
        else "start PostgreSQL there, or correct host, user, password and database of the URL"
    )
    return CatalogError(f"the catalog {place} cannot be used ({_reason(error, url)}): {remedy}")


def shown(catalog: str | Path) -> str:
    """The database without password and options."""
    url = _url(catalog)
    backend = url.get_backend_name()
    if backend == "sqlite":
        return url.database or "in memory"
    return URL.create(backend, url.username, None, url.host, url.port, url.database).render_as_string()


def without_password(catalog: str | Path) -> str:
    """The same database, to be kept in a file: no password stands in it, and the path of a SQLite file is absolute."""
    url = _url(catalog)
    if url.get_backend_name() == "sqlite" and url.database and "uri" not in url.query:
        url = url.set(database=str(Path(url.database).absolute()))
    return url.set(password=None).difference_update_query(["password"]).render_as_string()


def _url(catalog: str | Path) -> URL:
    return make_url(ensure_specified_sql_driver(catalog))


def _not_usable(place: str, reason: str) -> str:
    return (
        f"{place} is not a usable catalog ({reason}): give a file, sqlite:///file or "
        "postgresql://user:password@host:port/database, with special characters of the password percent-encoded"
    )


def _is_damaged(error: BaseException) -> bool:
    """Whether SQLite finds no database in the file, or a broken one."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlite_errorname", "")).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _reason(error: BaseException, url: URL) -> str:
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, TimeoutError):
        return "no answer in time"
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].replace(url.password, _HIDDEN) if url.password else lines[0]
