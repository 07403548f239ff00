"""A Zarr store of a directory, each file of which is looked at before it is opened."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from .files import require_file
from .roots import Roots


class RootedStore(LocalStore):
    """Reads files only that are regular ones within the roots, wherever links lead. Raises ExternalRefusedError."""

    def __init__(self, root: Path, roots: Roots, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._roots = roots

    def with_read_only(self, read_only: bool = False) -> RootedStore:  # noqa: FBT001, FBT002
        return type(self)(self.root, self._roots, read_only=read_only)

    def get_sync(self, key: str, **options: Any) -> Any:
        self._require(key)
        return super().get_sync(key, **options)

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        self._require(key)
        return await super().get(key, *arguments, **options)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        wanted = list(key_ranges)
        for key, _ in wanted:
            self._require(key)
        return await super().get_partial_values(prototype, wanted)

    def _require(self, key: str) -> None:
        path = self._roots.inside(self.root / key, f"{self.root}, file {key!r}")
        if path.exists() and not path.is_dir():
            require_file(path, key)
