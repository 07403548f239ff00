"""Tiled's queries as SQL conditions: what stock Tiled lacks, quotes wrongly, or asks past every index."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from sqlalchemy import Text, and_, exists, false, func, or_, select, true, type_coerce
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB, REGCONFIG
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement
from tiled import queries
from tiled.catalog import adapter as stock
from tiled.catalog import orm
from tiled.queries import QueryValueError
from tiled.query_registration import QueryTranslationRegistry

from ..foreign import in_64_bits
from .paths import INDEXED, UID, split, sqlite_path, text_of, value_of

Condition: TypeAlias = ColumnElement[bool]

_OPERATORS = {
    queries.Operator.lt: operator.lt,
    queries.Operator.le: operator.le,
    queries.Operator.gt: operator.gt,
    queries.Operator.ge: operator.ge,
}
_WILDCARDS = re.compile(r"[%_\\]")
# texts that have words, and stand in JSON as they are
_UNCHANGED = re.compile(r"(?=.*[A-Za-z0-9])[ !#-\[\]-~]+")
_LAST_CHARACTER = "\U0010ffff"


def equals(dialect: str, query: queries.Eq) -> Condition:
    value = scalar(query.value)
    if query.key == UID and isinstance(value, str):
        found: Condition = orm.Node.key == value
        return found
    condition = _compare(dialect, query.key, operator.eq, value)
    if query.key in INDEXED or not isinstance(value, str):
        return condition
    return and_(_may_hold(dialect, query.key, value), condition)


def _may_hold(dialect: str, key: str, value: str) -> Condition:
    """What an index knows of all texts: true wherever the key has this value, and hardly elsewhere."""
    if dialect == "postgresql":
        wanted: Any = value
        for segment in reversed(split(key)):
            if segment.lstrip("-").isdigit():
                # it may be a place in a list
                return true()
            wanted = {segment: wanted}
        held: Condition = orm.Node.metadata_.op("@>")(type_coerce(wanted, JSONB))
        return held
    if not _UNCHANGED.fullmatch(value):
        return true()
    words = orm.metadata_fts5.c
    found: Condition = orm.Node.id.in_(select(words.rowid).where(words.metadata.match(f'"{value}"')))
    return found


def differs(dialect: str, query: queries.NotEq) -> Condition:
    return _compare(dialect, query.key, operator.ne, scalar(query.value))


def compares(dialect: str, query: queries.Comparison) -> Condition:
    return _compare(dialect, query.key, _OPERATORS[query.operator], scalar(query.value))


def is_in(dialect: str, query: queries.In) -> Condition:
    values = [_bound(dialect, scalar(value)) for value in query.value]
    return value_of(dialect, query.key).in_(values) if values else false()


def is_not_in(dialect: str, query: queries.NotIn) -> Condition:
    values = [_bound(dialect, scalar(value)) for value in query.value]
    return value_of(dialect, query.key).not_in(values) if values else true()


def is_like(dialect: str, query: queries.Like) -> Condition:
    prefix = query.pattern[:-1]
    if query.key == UID and query.pattern.endswith("%") and prefix and not _WILDCARDS.search(prefix):
        key = orm.Node.key.collate("C") if dialect == "postgresql" else orm.Node.key
        found: Condition = (key >= prefix) & (key < prefix + _LAST_CHARACTER)
        return found
    return text_of(dialect, query.key).like(_text(query.pattern))


def contains(dialect: str, query: queries.Contains) -> Condition:
    """A list that holds the value, or a text that holds the text."""
    value = scalar(query.value)
    if dialect == "postgresql":
        member: Condition = value_of(dialect, query.key).op("@>")(type_coerce([value], JSONB))
    else:
        items = func.json_each(orm.Node.metadata_, sqlite_path(query.key)).table_valued("value")
        member = exists(select(1).select_from(items).where(items.c.value == value))
    if not isinstance(value, str):
        return member
    return or_(member, text_of(dialect, query.key).contains(value, autoescape=True))


def matches(dialect: str, query: queries.Regex) -> Condition:
    try:
        re.compile(query.pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise QueryValueError(f"{query.pattern!r} is not a regular expression: {error}") from error
    pattern = _text(query.pattern) if query.case_sensitive else "(?i)" + _text(query.pattern)
    return sql_cast(text_of(dialect, query.key), Text).regexp_match(pattern)


def has_words(dialect: str, query: queries.FullText) -> Condition:
    """All words stand somewhere in the metadata, in any order."""
    words = _text(query.text).split()
    if not words:
        raise QueryValueError("a full-text search needs at least one word")
    if dialect == "postgresql":
        node = aliased(orm.Node)
        vector = func.jsonb_to_tsvector(sql_cast("simple", REGCONFIG), node.metadata_, sql_cast(["string"], JSONB))
        wanted = func.plainto_tsquery(sql_cast("simple", REGCONFIG), " ".join(words))
        # the offset keeps PostgreSQL from going through all runs in their order until a page is full of those with
        # the words, which it takes for cheap: it does not know what making a vector costs
        matching: Condition = orm.Node.id.in_(select(node.id).where(vector.op("@@")(wanted)).offset(0))
        return matching
    quoted = " ".join('"' + word.replace('"', '""') + '"' for word in words)
    found: Condition = orm.metadata_fts5.c.metadata.match(quoted)
    return found


def has_key(dialect: str, query: queries.KeyPresent) -> Condition:
    if dialect == "postgresql":
        found: Condition = orm.Node.metadata_[split(query.key)].is_not(None)
    else:
        found = func.json_type(orm.Node.metadata_, sqlite_path(query.key)).is_not(None)
    return found if query.exists else ~found


def scalar(value: Any) -> Any:
    """A value that SQL can be asked for. Raises QueryValueError."""
    match value:
        case str():
            return _text(value)
        case bool() | float():
            return value
        case int() if in_64_bits(value):
            return value
    raise QueryValueError(f"{str(value)[:60]} cannot be searched for: give a string, a number of 64 bits, or a boolean")


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise QueryValueError(f"{str(value)[:60]!r} is not a text that can be searched for")
    return value


def _compare(dialect: str, key: str, operation: Callable[..., Any], value: Any) -> Condition:
    condition: Condition = operation(value_of(dialect, key), _bound(dialect, value))
    return condition


def _bound(dialect: str, value: Any) -> Any:
    return type_coerce(value, JSONB) if dialect == "postgresql" else value


_CONDITIONS: dict[type, Callable[[str, Any], Condition]] = {
    queries.Eq: equals,
    queries.NotEq: differs,
    queries.Comparison: compares,
    queries.In: is_in,
    queries.NotIn: is_not_in,
    queries.Like: is_like,
    queries.Contains: contains,
    queries.Regex: matches,
    queries.FullText: has_words,
    queries.KeyPresent: has_key,
}


def translations() -> QueryTranslationRegistry:
    """A registry of all queries that a catalog of runs answers."""
    registry = QueryTranslationRegistry()
    for query_type, condition in _CONDITIONS.items():
        registry.register(query_type, _translator(condition))
    registry.register(queries.KeysFilter, stock.keys_filter)
    registry.register(queries.StructureFamilyQuery, stock.structure_family)
    registry.register(queries.SpecsQuery, stock.specs)
    registry.register(queries.AccessTagsFilter, stock.access_tags_filter)
    return registry


def _translator(condition: Callable[[str, Any], Condition]) -> Callable[[Any, Any], Any]:
    def translate(query: Any, tree: Any) -> Any:
        found = condition(tree.context.engine.dialect.name, query)
        return tree.new_variation(conditions=[*tree.conditions, found])

    return translate
