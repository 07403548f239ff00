"""What `serve` and `register` try before they start.

Of what `serve` meets later, uvicorn would tell with a traceback, or not at all.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from ..archive.root import MARK_NAME
from ..catalog import Registrar, catalog_of
from ..errors import ArchiveError, TiledServerError
from .archived_files import hold_any


def check_address(host: str, port: int) -> None:
    """Raise TiledServerError when nothing can listen there."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        bound = [_can_bind(family, address) for family, _, _, _, address in found]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise TiledServerError(_not_ours(host, port, reason)) from error
    if not any(bound):
        raise TiledServerError(_not_ours(host, port, "not an address of this computer"))


def check_catalog(catalog: str | Path) -> None:
    """Open the database and make what is missing in it. Raises CatalogError."""
    Registrar(catalog).close()


def is_marked(root: Path) -> bool:
    """Whether the archiver has marked a directory as the root of an archive."""
    return (root / MARK_NAME).exists()


def check_mounted(root: Path) -> None:
    """Raise ArchiveError for a directory that shows no sign of an archive, as a mount point without its disk."""
    if is_marked(root) or catalog_of(root).exists() or hold_any(root):
        return
    raise ArchiveError(
        f"nothing was ever archived in {root}, or its disk is not mounted (there is no {MARK_NAME}, no catalog and no "
        "file of a run): mount it, or start the writer or the archiver first, which make the archive"
    )


def _not_ours(host: str, port: int, reason: str) -> str:
    return (
        f"Tiled cannot listen on port {port} of {host} ({reason}): give a free --port (0 finds one), "
        "and an address of this computer as --host"
    )


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    """Whether this computer has the address. Raises OSError when it has it, but it cannot be listened at."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True
