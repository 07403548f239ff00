"""What one experiment found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    promise: str
    """P1 to P8."""
    what: str
    found: str
    aim: str
    kept: bool
