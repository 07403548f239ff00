"""One run in the catalog: metadata from the database, everything inside from an adapter of our own."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
from tiled.catalog.adapter import CatalogContainerAdapter
from tiled.server.schemas import DataSource


class RunNode(CatalogContainerAdapter):
    """A container whose children are delegated to the adapter that its data source's mimetype names.

    The adapter is made by `from_catalog(data_source, node, **parameters)`, in a thread: it may wait there. It offers
    the asynchronous container methods of Tiled's catalog.
    """

    _adapter: Any = None

    async def get_adapter(self) -> Any:
        """The adapter, made once per object, with the searches and the order that were asked for."""
        if self._adapter is None:
            source = DataSource.from_orm(self.node.data_sources[0], include_assets=False)
            make = self.context.adapters_by_mimetype[source.mimetype].from_catalog
            adapter = await anyio.to_thread.run_sync(partial(make, source, self.node, **source.parameters))
            for query in self.queries:
                adapter = adapter.search(query)
            self._adapter = adapter.sort(self.sorting)
        return self._adapter

    def search(self, query: Any) -> RunNode:
        """The same node with one more query, which the adapter will be asked."""
        found: RunNode = self.new_variation(queries=[*self.queries, query])
        return found

    async def lookup_adapter(self, segments: list[str]) -> Any:
        return await (await self.get_adapter()).lookup_adapter(segments) if segments else self

    async def keys_page(self, cursor: int | None = None, limit: int | None = None) -> Any:
        return await (await self.get_adapter()).keys_page(cursor, limit)

    async def keys_range(self, offset: int = 0, limit: int | None = None) -> Any:
        return await (await self.get_adapter()).keys_range(offset, limit)

    async def items_page(self, cursor: int | None = None, limit: int | None = None) -> Any:
        return await (await self.get_adapter()).items_page(cursor, limit)

    async def items_range(self, offset: int = 0, limit: int | None = None) -> Any:
        return await (await self.get_adapter()).items_range(offset, limit)

    async def cursor_for_offset(self, offset: int) -> Any:
        return await (await self.get_adapter()).cursor_for_offset(offset)

    async def exact_len(self) -> int:
        count: int = await (await self.get_adapter()).exact_len()
        return count

    async def lbound_len(self, threshold: int) -> int:  # noqa: ARG002 - Tiled calls it so
        """The number of streams, for a page of runs: from the stop document, so that nothing is opened for it."""
        counted = (self.metadata().get("stop") or {}).get("num_events")
        return len(counted) if isinstance(counted, dict) and not self.queries else 1

    async def approx_len(self) -> int | None:
        return None

    async def get_distinct(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.get_adapter()).get_distinct(*args, **kwargs)

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self.get_adapter()).read(*args, **kwargs)
