"""What a document may hold: a short message can tell of a value that has no end, or that no memory can hold."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

DEEPEST = 100
"""How deeply containers may be nested."""
_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_BYTES_PER_VALUE = 16
_ALWAYS_ALLOWED = 2**27
_TIMES_THE_MESSAGE = 32


def require_bounded(document: Any, message_bytes: int) -> None:
    """Raise ValueError for a value that is nested too deeply, or within itself, or much larger than its message.

    A pickle can name one list many times, in a list that it names many times.
    """
    _walk(document, _ALWAYS_ALLOWED + _TIMES_THE_MESSAGE * message_bytes, DEEPEST)


def _walk(container: Any, budget: int, depth: int) -> int:
    """What is left of the budget, in bytes."""
    if depth == 0:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    if isinstance(container, dict):
        budget = _walk_all(container, budget, depth)
        container = container.values()
    return _walk_all(container, budget, depth)


def _walk_all(values: Any, budget: int, depth: int) -> int:
    for value in values:
        budget -= _BYTES_PER_VALUE
        kind = type(value)
        if kind is str or kind is bytes:
            budget -= len(value)
        elif kind is not float:
            budget = _walk_other(value, budget, depth)
        if budget < 0:
            raise ValueError("it is much larger than the message that it came in")
    return budget


def _walk_other(value: Any, budget: int, depth: int) -> int:
    if isinstance(value, np.ndarray | np.generic):
        return budget - value.nbytes
    if isinstance(value, _CONTAINERS):
        return _walk(value, budget, depth - 1)
    return budget
