"""What can go wrong in the demo itself."""

from __future__ import annotations

from ..errors import BlissdataBlueskyError


class DemoError(BlissdataBlueskyError, RuntimeError):
    """A part of the demo ended before its time."""


class DemoDirectoryError(BlissdataBlueskyError, OSError):
    """The directory for what the demo keeps cannot be made."""
