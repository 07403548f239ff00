"""Values of JSON columns as texts that people read in a file."""

from __future__ import annotations

from typing import Any

from .tagged import dump_json, load_json

_JSON_MARK = "json:"


def text_of(value: Any) -> str:
    """A value of a JSON column as people read it: a string is itself, all else is tagged JSON after a mark.

    Strings that no UTF-8 holds, that HDF5 would cut (at a NUL) or that begin like the mark are JSON too.
    """
    if isinstance(value, str) and "\0" not in value and not value.startswith(_JSON_MARK) and _is_unicode(value):
        return value
    return _JSON_MARK + dump_json(value).decode()


def value_of(text: str) -> Any:
    """The value that `text_of` was given."""
    return load_json(text.removeprefix(_JSON_MARK)) if text.startswith(_JSON_MARK) else text


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
