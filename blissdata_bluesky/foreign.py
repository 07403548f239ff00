"""What becomes of Python's objects for which a format has no type."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np


def as_container_or_repr(value: Any) -> Any:
    """An object's fields, its array, its items; its `repr` when it has none of them."""
    try:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if hasattr(type(value), "model_fields"):
            # pydantic's models give their fields; ophyd-async's tables have a length as well
            return dict(iter(value))
        if hasattr(value, "__array__"):
            return np.asarray(value)
        if hasattr(value, "__iter__") and hasattr(value, "__len__"):
            return list(value)
    except Exception:  # noqa: BLE001, S110 - whatever a stranger's object does, the document is kept
        pass
    return safe_repr(value)


def safe_repr(value: Any) -> str:
    """`repr`, or what Python says of any object, when its own fails."""
    try:
        return safe_text(repr(value))
    except Exception:  # noqa: BLE001 - a stranger's `__repr__`
        return object.__repr__(value)


def as_text(value: Any) -> str:
    """The value where a text should be: itself, or its `repr`."""
    return value if isinstance(value, str) else safe_repr(value)


def in_64_bits(value: int) -> bool:
    """Whether a signed integer of 64 bits can hold it: what JSON in Redis, HDF5 and SQL have in common."""
    return -(2**63) <= value < 2**63


def integer_text(value: int) -> str:
    """An integer of any length: hexadecimal where Python does not print it in decimal."""
    try:
        return str(value)
    except ValueError:
        return hex(value)


def safe_text(value: str) -> str:
    """The text as plain UTF-8; a lone surrogate is escaped."""
    # not its own methods: it may be of a class that spells itself in another way
    return str.encode(value, "utf-8", "backslashreplace").decode()


def keys_as_texts(keys: Iterable[Any]) -> list[str]:
    """Keys as strings. Where 1 and "1" would become one, 1 and other keys that are no strings are marked."""
    keys = list(keys)
    plain = [_key_text(key) for key in keys]
    if len(set(plain)) == len(keys):
        return plain
    marked: dict[str, int] = {}
    # strings first: they keep their spelling if they can
    for position in sorted(range(len(keys)), key=lambda position: not isinstance(keys[position], str)):
        key = keys[position]
        text = plain[position] if isinstance(key, str) else f"{type(key).__name__}({safe_repr(key)})"
        while text in marked:
            text += "'"
        marked[text] = position
    return sorted(marked, key=marked.__getitem__)


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return safe_text(key)
    try:
        return safe_text(str(key))
    except Exception:  # noqa: BLE001 - a stranger's `__str__`
        return safe_repr(key)
