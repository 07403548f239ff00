"""The list of runs: Tiled's own catalog container, with one node per run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tiled.catalog import orm
from tiled.catalog.adapter import CatalogContainerAdapter
from tiled.queries import QueryValueError
from tiled.server.core import NoEntry

from .node import RunNode
from .paths import value_of
from .queries import translations

# of a statement's failure, what may be shown
_REASON_LENGTH = 200


class RunsContainer(CatalogContainerAdapter):
    """The children are runs (`RunNode`); queries and sorting use the indexes, and bad ones are refused as such."""

    query_registry = translations()
    register_query = query_registry.register

    def __init__(self, context: Any, node: Any, **options: Any) -> None:
        super().__init__(context, node, **options)
        self.order_by_clauses = self._order()

    def _order(self) -> list[Any]:
        dialect = self.context.engine.dialect.name
        clauses = []
        for key, direction in self.sorting:
            if key not in ("", "_"):
                column = orm.Node.key if key == "id" else value_of(dialect, key.removeprefix("metadata."))
                clauses.append(column.desc() if direction == -1 else column)
        last = orm.Node.id.desc() if self.default_sorting_direction == -1 else orm.Node.id
        return [*clauses, last]

    def search(self, query: Any) -> Any:
        """Narrow down. Raises QueryValueError (400) for what cannot be asked."""
        try:
            return super().search(query)
        except QueryValueError:
            raise
        except (TypeError, AttributeError, KeyError, ValueError, SQLAlchemyError) as error:
            reason = str(error)[:_REASON_LENGTH]
            raise QueryValueError(f"{type(query).__name__} cannot be asked like this: {reason}") from error

    def sort(self, sorting: list[tuple[str, Any]]) -> Any:
        """Sort by metadata keys; a key that no metadata can have is refused with 400."""
        try:
            return super().sort([("" if key == "_" else key, direction) for key, direction in sorting])
        except QueryValueError as error:
            raise HTTPException(400, str(error)) from error

    async def lookup_adapter(self, segments: list[str]) -> Any:
        """The run of the first segment, or what is inside it. Raises NoEntry."""
        if not segments:
            return self
        if any("\0" in segment for segment in segments):
            raise NoEntry(segments)
        found = await self._lookup_child(segments[0])
        return await found.lookup_adapter(segments[1:]) if len(segments) > 1 else found

    async def keys_page(self, cursor: int | None = None, limit: int | None = None) -> Any:
        with self._refusals():
            return await super().keys_page(cursor, limit)

    async def keys_range(self, offset: int = 0, limit: int | None = None) -> Any:
        with self._refusals():
            return await super().keys_range(offset, limit)

    async def items_page(self, cursor: int | None = None, limit: int | None = None) -> Any:
        with self._refusals():
            items, following = await super().items_page(cursor, limit)
        return [(key, self._as_run(child)) for key, child in items], following

    async def items_range(self, offset: int = 0, limit: int | None = None) -> Any:
        with self._refusals():
            items = await super().items_range(offset, limit)
        return [(key, self._as_run(child)) for key, child in items]

    async def cursor_for_offset(self, offset: int) -> int | None:
        with self._refusals():
            cursor: int | None = await super().cursor_for_offset(offset)
        return cursor

    async def exact_len(self) -> int:
        with self._refusals():
            count: int = await super().exact_len()
        return count

    async def lbound_len(self, threshold: int) -> int:
        with self._refusals():
            count: int = await super().lbound_len(threshold)
        return count

    async def get_distinct(self, *args: Any, **kwargs: Any) -> Any:
        with self._refusals():
            return await super().get_distinct(*args, **kwargs)

    async def _lookup_child(self, key: str) -> Any:
        if self.conditions or self.access_filters:
            with self._refusals():
                return self._as_run(await super().lookup_adapter([key]))
        node = self.context.recent_nodes.get(key)
        if node is not None:
            return RunNode(self.context, node)
        with self._refusals():
            found = self._as_run(await super().lookup_adapter([key]))
        if isinstance(found, RunNode):
            self.context.recent_nodes.put(key, found.node)
        return found

    def _as_run(self, child: Any) -> Any:
        return RunNode(self.context, child.node) if child.node.data_sources else child

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError, OverflowError, ValueError) as error:
            reason = str(getattr(error, "orig", None) or error)[:_REASON_LENGTH]
            asked = self.conditions or self.access_filters or self.sorting != [("", 1)]
            if isinstance(error, OverflowError) or (asked and not _is_away(error)):
                raise HTTPException(400, f"This search cannot be answered: {reason}") from error
            raise HTTPException(503, "The catalog's database does not answer now: try again later.") from error


def _is_away(error: Exception) -> bool:
    """Whether it is the connection that failed, and not a statement."""
    return isinstance(error, OSError) or (isinstance(error, DBAPIError) and error.connection_invalidated)
