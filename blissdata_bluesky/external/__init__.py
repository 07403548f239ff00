"""Frames that detectors wrote to files of their own, read by reference, within allowed directories."""

from __future__ import annotations

from .frames import Frames
from .roots import Roots

__all__ = ["Frames", "Roots"]
