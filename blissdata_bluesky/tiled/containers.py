"""What a run and its streams have in common: a few children, known after one look, offered as Tiled's catalog does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

from fastapi import HTTPException
from tiled.queries import AccessTagsFilter, KeysFilter, SpecsQuery, StructureFamilyQuery
from tiled.server.core import NoEntry
from tiled.structures.core import Spec, StructureFamily
from tiled.utils import UnsupportedQueryType

from .place import Place
from .spelling import Beginning, Parts, begins, listed_as


class Container:
    """A read-only container. A subclass says in `children` what is inside; it may wait there, not elsewhere."""

    structure_family = StructureFamily.container

    def __init__(self, place: Place, metadata: Mapping[str, Any], specs: Sequence[Spec]) -> None:
        self.place = place
        self.node = place.node
        self.access_tags = place.access_tags
        self.specs = list(specs)
        self.sorting: list[tuple[str, int]] = [("", 1)]
        self._metadata = dict(metadata)
        self._queries: tuple[Any, ...] = ()

    async def children(self) -> Mapping[str, Any]:
        """Name → adapter of all that is inside, in order."""
        raise NotImplementedError

    async def child(self, name: str) -> Any:
        """The adapter of one child, or None."""
        return (await self.children()).get(name)

    def metadata(self) -> dict[str, Any]:
        return self._metadata

    def structure(self) -> None:
        return None

    def search(self, query: Any) -> Self:
        """Narrow down by keys, specs, structure family or access tags. Raises UnsupportedQueryType (400)."""
        if not isinstance(query, KeysFilter | SpecsQuery | StructureFamilyQuery | AccessTagsFilter):
            raise UnsupportedQueryType(type(query).__name__)
        if isinstance(query, KeysFilter) and not isinstance(query.keys, list):
            raise HTTPException(400, f"{str(query.keys)[:60]} is not a list of keys.")
        found = copy.copy(self)
        found._queries = (*self._queries, query)  # noqa: SLF001 - it is a copy of this one
        return found

    def sort(self, sorting: Sequence[tuple[str, int]]) -> Self:
        """Forwards or backwards; other keys do not differ between children, and leave the order as it is."""
        found = copy.copy(self)
        found.sorting = list(sorting)
        return found

    async def lookup_adapter(self, segments: list[str]) -> Any:
        """What is at this path below, in names as they are listed or decoded. Raises NoEntry."""
        if not segments:
            return self
        found = await self._find((segments[0],))
        if len(segments) == 1:
            return found
        if not hasattr(found, "lookup_adapter"):
            raise NoEntry(segments)
        return await found.lookup_adapter(segments[1:])

    async def _find(self, parts: Parts) -> Any:
        name: str | None = "/".join(parts)
        found = await self.child(name or "")
        if found is None:
            children = await self.children()
            name = listed_as(parts, children)
            if name is None and begins(parts, children):
                return Beginning(self.place, self._find, parts)
            found = children.get(name or "")
        if found is None or name is None or not self._shows(name, found):
            raise NoEntry(list(parts))
        return found

    async def items_range(self, offset: int = 0, limit: int | None = None) -> list[tuple[str, Any]]:
        items = [item for item in (await self.children()).items() if self._shows(*item)]
        if any(key in ("", "_") and direction == -1 for key, direction in self.sorting):
            items.reverse()
        return items[offset : None if limit is None else offset + limit]

    async def keys_range(self, offset: int = 0, limit: int | None = None) -> list[str]:
        return [key for key, _ in await self.items_range(offset, limit)]

    async def items_page(
        self, cursor: int | None = None, limit: int | None = None
    ) -> tuple[list[tuple[str, Any]], int | None]:
        """The items after the one at index `cursor`, and the index of the last one if others follow."""
        start = 0 if cursor is None else cursor + 1
        items = await self.items_range(start)
        if limit is None or len(items) <= limit:
            return items, None
        return items[:limit], start + limit - 1 if limit else None

    async def keys_page(self, cursor: int | None = None, limit: int | None = None) -> tuple[list[str], int | None]:
        items, following = await self.items_page(cursor, limit)
        return [key for key, _ in items], following

    async def cursor_for_offset(self, offset: int) -> int | None:
        return offset - 1 if offset else None

    async def exact_len(self) -> int:
        return len(await self.items_range())

    async def lbound_len(self, threshold: int) -> int:  # noqa: ARG002 - Tiled calls it so
        return await self.exact_len()

    async def approx_len(self) -> int | None:
        return None

    async def read(self, fields: list[str] | None = None) -> Self:
        """The container itself, which serializers walk; `fields` are children. Raises KeyError for an unknown one."""
        if not fields:
            return self
        known = await self.children()
        for field in fields:
            if field not in known:
                raise KeyError(field)
        return self.search(KeysFilter(list(dict.fromkeys(fields))))

    async def get_distinct(self, *_: Any, **__: Any) -> Any:
        raise HTTPException(405, "Distinct values can be asked of the list of runs, not inside a run.")

    def _shows(self, key: str, child: Any) -> bool:
        return all(_matches(query, key, child) for query in self._queries)


def _matches(query: Any, key: str, child: Any) -> bool:
    match query:
        case KeysFilter():
            return key in query.keys
        case StructureFamilyQuery():
            return bool(child.structure_family == query.value)
        case AccessTagsFilter():
            return not child.access_tags.isdisjoint(query.tags)
        case _:
            names = {spec.name for spec in child.specs}
            return names.issuperset(query.include) and names.isdisjoint(query.exclude)
