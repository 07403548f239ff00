"""Documents that other processes publish over a network: heard, looked at for gaps, and given to a writer."""

from .address import zmq_address
from .deserialize import Serializer, deserializer
from .errors import ListenError
from .heard import HeardRun
from .listener import Listener
from .silence import Silence
from .subscription import Link, Malformed, Message, Subscription

__all__ = [
    "HeardRun",
    "Link",
    "ListenError",
    "Listener",
    "Malformed",
    "Message",
    "Serializer",
    "Silence",
    "Subscription",
    "deserializer",
    "zmq_address",
]
