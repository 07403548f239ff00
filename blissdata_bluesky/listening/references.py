"""References from documents to detectors' files: which were named, and never heard."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..foreign import as_text
from .numbers import SeqNums

Document = Mapping[str, Any]

# as ophyd and area detectors name their datums; others are kept one by one
_NUMBERED = re.compile(r"(?P<resource>.*)/(?P<number>0|[1-9]\d{0,15})", re.DOTALL)
_MOST_KEPT = 100_000


class References:
    """Of one run. A document may come before the one that it refers to, so what lacks is known in the end only."""

    def __init__(self) -> None:
        self._external: dict[str, list[str]] = {}
        self._keys: dict[str, str] = {}
        self._unknown: dict[str, str] = {}
        self._numbered: dict[str, SeqNums] = {}
        self._datums: set[str] = set()
        # whether all datums that were heard are known
        self._sure = True
        self._wanted: dict[str, tuple[str, str]] = {}

    def describe(self, uid: str, data_keys: Any) -> None:
        """Note the keys of a descriptor whose values stand in files."""
        keys = data_keys.items() if isinstance(data_keys, Mapping) else ()
        self._external[uid] = [as_text(key) for key, described in keys if _is_by_datum(described)]

    def take_resource(self, document: Document) -> None:
        """Note a stream_resource."""
        uid = as_text(document.get("uid"))
        self._keys[uid] = as_text(document.get("data_key"))
        self._unknown.pop(uid, None)

    def key_of(self, datum: Document, stream: str) -> str | None:
        """The data key of a stream_datum; None when its stream_resource was not heard."""
        uid = datum.get("stream_resource")
        key = self._keys.get(as_text(uid))
        if key is None and isinstance(uid, str) and len(self._unknown) < _MOST_KEPT:
            self._unknown[uid] = stream
        return key

    def take_datums(self, datum_ids: Any) -> None:
        """Note datums."""
        for datum_id in datum_ids if isinstance(datum_ids, list | tuple) else [datum_ids]:
            if isinstance(datum_id, str):
                self._add(datum_id)

    def use(self, descriptor: str, stream: str, document: Document) -> None:
        """Note what an event, or a page of them, refers to."""
        data, filled = document.get("data"), document.get("filled")
        if not isinstance(data, Mapping):
            return
        filled = filled if isinstance(filled, Mapping) else {}
        for key in self._external.get(descriptor, ()):
            values, are_filled = data.get(key), filled.get(key)
            if isinstance(values, str):
                values, are_filled = [values], [are_filled]
            if not isinstance(values, list | tuple):
                continue
            are_filled = are_filled if isinstance(are_filled, list | tuple) else [False] * len(values)
            for value, is_filled in zip(values, are_filled, strict=False):
                if isinstance(value, str) and not is_filled:
                    self._want(value, stream, key)

    def lacks(self) -> Iterator[str]:
        """What was named and not heard, in words."""
        for stream in dict.fromkeys(self._unknown.values()):
            yield f"stream {stream!r}: a stream_resource of its stream_datums was not heard"
        for (stream, key), count in Counter(self._wanted.values()).items():
            yield f"stream {stream!r}, {key!r}: {count} datums that its events name were not heard"

    def _add(self, datum_id: str) -> None:
        self._wanted.pop(datum_id, None)
        if found := _NUMBERED.fullmatch(datum_id):
            number = int(found["number"])
            self._numbered.setdefault(found["resource"], SeqNums()).add(number, number + 1)
        elif len(self._datums) < _MOST_KEPT:
            self._datums.add(datum_id)
        else:
            self._sure = False

    def _want(self, datum_id: str, stream: str, key: str) -> None:
        if found := _NUMBERED.fullmatch(datum_id):
            is_heard = int(found["number"]) in self._numbered.get(found["resource"], ())
        else:
            is_heard = datum_id in self._datums or not self._sure
        if not is_heard and len(self._wanted) < _MOST_KEPT:
            self._wanted[datum_id] = (stream, key)


def _is_by_datum(described: Any) -> bool:
    external = described.get("external") if isinstance(described, Mapping) else None
    return isinstance(external, str) and not external.startswith("STREAM:")
