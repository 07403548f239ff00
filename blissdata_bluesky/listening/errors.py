"""What keeps us from listening."""

from __future__ import annotations

from ..errors import BlissdataBlueskyError


class ListenError(BlissdataBlueskyError, ValueError):
    """An address or prefix cannot be listened to, or what is needed for it is not installed."""
