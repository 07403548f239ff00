"""Which catalog the archiver of a directory of journals lists its runs in, from one start to the next."""

from __future__ import annotations

from pathlib import Path

from ..archive.durable import replace_text
from ..archive.root import path_beside
from ..catalog import catalog_of, without_password


class KnownCatalog:
    """The catalog that an archiver was last given, remembered beside the journals, without its password.

    The archiver that a writer starts is given none: without this, it would list runs where nobody looks for them.
    """

    def __init__(self, journal: Path, root: Path) -> None:
        self._path = path_beside(journal, root, ".catalog")
        self._default = catalog_of(root)

    def read(self) -> str | Path:
        """The catalog, and the one of the archive itself where none was ever given."""
        try:
            return self._path.read_text() or self._default
        except FileNotFoundError:
            return self._default

    def write(self, catalog: str) -> None:
        """Remember it. It is known to be usable."""
        # half a name, or none, would be another list
        replace_text(self._path, without_password(catalog))
