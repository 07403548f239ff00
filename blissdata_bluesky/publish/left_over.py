"""Documents of runs whose scan is gone: blissdata and its memory tracker know nothing of them."""

from __future__ import annotations

import logging
from collections import deque

import redis

from .. import protocol
from .pipeline import execute

logger = logging.getLogger(__name__)

_MOST = 1000


class LeftOverDocuments:
    """Removes the documents stream of each run of this writer that was deleted or has expired."""

    def __init__(self) -> None:
        self._uids: deque[str] = deque(maxlen=_MOST)

    def add(self, uid: str) -> None:
        """A run has ended, and may be deleted from now on."""
        self._uids.append(uid)

    def remove(self, client: redis.Redis) -> None:
        """Look at all of them. When Redis refuses, their time to live has to do."""
        if not self._uids:
            return
        try:
            remaining = execute(client, [("PTTL", protocol.scan_key(uid)) for uid in self._uids])
            gone = [uid for uid, ttl in zip(self._uids, remaining, strict=True) if ttl == -2]
            if gone:
                client.unlink(*map(protocol.documents_key, gone))
        except redis.RedisError as error:
            logger.debug("documents of deleted runs are left to their time to live: %s", error)
            return
        for uid in gone:
            self._uids.remove(uid)
