"""Values inside a node's metadata as SQL, spelled so that expression indexes serve the usual ones."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, literal_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement
from tiled.catalog import orm
from tiled.queries import QueryValueError

# an index on an expression serves only statements that spell the expression in the same way, path included
INDEXED = ("start.scan_id", "start.plan_name", "start.time")
# a run's uid is its key, which is indexed already
UID = "start.uid"

_SPELLED = {
    "sqlite": "json_extract({table}metadata, '{path}')",
    "postgresql": "({table}metadata #> '{path}')",
}


def value_of(dialect: str, key: str) -> ColumnElement[Any]:
    """The value at a dotted key: SQL's own type on SQLite, jsonb on PostgreSQL. Raises QueryValueError."""
    segments = split(key)
    if key in INDEXED:
        return literal_column(spelled(dialect, key, "nodes."), JSONB() if dialect == "postgresql" else None)
    if dialect == "postgresql":
        found: ColumnElement[Any] = orm.Node.metadata_[segments]
        return found
    return func.json_extract(orm.Node.metadata_, _sqlite_path(segments))


def text_of(dialect: str, key: str) -> ColumnElement[Any]:
    """The value at a dotted key as text. Raises QueryValueError."""
    if key == UID:
        found: ColumnElement[Any] = orm.Node.key
    elif dialect == "postgresql":
        found = orm.Node.metadata_[split(key)].as_string()
    else:
        found = value_of(dialect, key)
    return found


def index_statements(dialect: str) -> list[str]:
    """What makes the catalog fast; each may be repeated."""
    statements = [
        f"CREATE INDEX IF NOT EXISTS ix_blissdata_{key.rpartition('.')[2]} "
        f"ON nodes (parent, {spelled(dialect, key)}, id)"
        for key in INDEXED
    ]
    # PostgreSQL would follow the database's collation, in which a prefix is no range
    uid = '(key COLLATE "C")' if dialect == "postgresql" else "key"
    return [*statements, f"CREATE INDEX IF NOT EXISTS ix_blissdata_uid ON nodes (parent, {uid})"]


def spelled(dialect: str, key: str, table: str = "") -> str:
    """The SQL text of the value at an indexed key."""
    segments = key.split(".")
    path = _sqlite_path(segments) if dialect == "sqlite" else "{" + ",".join(segments) + "}"
    return _SPELLED[dialect].format(table=table, path=path)


def split(key: str) -> list[str]:
    """The segments of a dotted key. Raises QueryValueError when no metadata can have it."""
    segments = key.split(".") if isinstance(key, str) else [""]
    if any(not segment or '"' in segment or "\\" in segment or "\0" in segment for segment in segments):
        raise QueryValueError(f"{key!r} is not the name of a metadata key: write names joined by dots, start.plan_name")
    return segments


def sqlite_path(key: str) -> str:
    """The JSON path of a dotted key. Raises QueryValueError."""
    return _sqlite_path(split(key))


def _sqlite_path(segments: list[str]) -> str:
    return "$" + "".join(f'."{segment}"' for segment in segments)
