"""Names in URLs: Tiled's client puts the listed name there as it is, and the server decodes what it holds.

Where a decoded name is a listed one as well, the listed one is found: `internal` is the table, never an array of that
key; of the keys `a` and `a/b`, the second one is hidden by the first, unless its listed name is quoted once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import unquote

from fastapi import HTTPException
from tiled.structures.core import StructureFamily

from .place import Place

Parts: TypeAlias = tuple[str, ...]


def listed_as(parts: Parts, names: Iterable[str]) -> str | None:
    """The listed name that, decoded, is these segments of a path."""
    return next((name for name in names if _decoded(name) == parts), None)


def begins(parts: Parts, names: Iterable[str]) -> bool:
    """Whether these are the first segments of a decoded name, and others follow."""
    return any(len(whole := _decoded(name)) > len(parts) and whole[: len(parts)] == parts for name in names)


def _decoded(name: str) -> Parts:
    # Tiled drops empty segments
    return tuple(segment for segment in unquote(name).split("/") if segment)


class Beginning:
    """The first segments of a name with `/`: Tiled looks up one segment at a time. By itself it is nothing (404)."""

    def __init__(self, place: Place, find: Callable[[Parts], Awaitable[Any]], parts: Parts) -> None:
        self.node = place.node
        self.access_tags = place.access_tags
        self._find = find
        self._parts = parts

    @property
    def structure_family(self) -> StructureFamily:
        raise self._nothing()

    def metadata(self) -> dict[str, Any]:
        raise self._nothing()

    def search(self, _query: Any) -> Beginning:
        """Itself: access policies narrow down each node on the way."""
        return self

    def sort(self, _sorting: Any) -> Beginning:
        raise self._nothing()

    async def get_distinct(self, *_: Any) -> Any:
        raise self._nothing()

    async def keys_range(self, *_: Any, **__: Any) -> Any:
        raise self._nothing()

    async def lookup_adapter(self, segments: list[str]) -> Any:
        """What is at the whole name, or further below. Raises NoEntry."""
        first, *rest = segments
        found = await self._find((*self._parts, first))
        return await found.lookup_adapter(rest) if rest else found

    def _nothing(self) -> HTTPException:
        return HTTPException(404, f"No such entry: {'/'.join(self._parts)}")
