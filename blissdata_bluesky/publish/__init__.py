"""Operations of a run to Redis: the live side of the fan-out."""

from ..mapping import IdentityRule, identity_from_start
from .feed import INCOMPLETE, RunFeed
from .publisher import Publisher, PublisherOptions
from .recovery import recover, replay
from .routes import Routes

__all__ = [
    "INCOMPLETE",
    "IdentityRule",
    "Publisher",
    "PublisherOptions",
    "Routes",
    "RunFeed",
    "identity_from_start",
    "recover",
    "replay",
]
