"""The documents stream: all of a run's documents but its events, in a Redis stream of our own beside the scan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import packing
from ..errors import DamagedRunError
from .encoding import RawEntry

DOCUMENTS_FORMAT = 1
# how long the documents outlive the end of their run: nobody else expires them
DOCUMENTS_SECONDS = 30 * 86400


@dataclass(frozen=True, slots=True)
class DocumentEntry:
    """One document that is no event, with the number of rows that each Bluesky stream had when it came."""

    index: int
    name: str
    document: dict[str, Any]
    rows: Mapping[str, int]
    publisher: str | None = field(default=None, kw_only=True)
    """Who may continue this run; stands in the first entry only."""

    @property
    def id(self) -> str:
        """The entry id: documents are numbered from 0."""
        return f"{self.index}-1"

    @property
    def fields(self) -> dict[str, bytes | str | int]:
        """The entry's fields."""
        fields: dict[str, bytes | str | int] = {
            "doc": packing.pack_document(self.name, self.document),
            "rows": json.dumps(self.rows),
        }
        return fields if self.publisher is None else fields | {"publisher": self.publisher, "format": DOCUMENTS_FORMAT}

    @classmethod
    def parse(cls, raw: RawEntry) -> DocumentEntry:
        """One entry as Redis returns it. Raises DamagedRunError when it is not ours or of a newer format."""
        identifier, fields = raw
        try:
            if int(fields.get(b"format", DOCUMENTS_FORMAT)) > DOCUMENTS_FORMAT:
                raise DamagedRunError("the run's documents have a newer format: read them with a newer version")
            name, document = packing.unpack_document(fields[b"doc"])
            publisher = fields.get(b"publisher")
            return cls(
                int(identifier.split(b"-", 1)[0]),
                name,
                document,
                json.loads(fields[b"rows"]),
                publisher=publisher.decode() if publisher is not None else None,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise DamagedRunError(f"entry {identifier!r} of a documents stream cannot be read: {error}") from error
