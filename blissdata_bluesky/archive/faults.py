"""What HDF5 raises, what it means, and how it is said to people."""

from __future__ import annotations

import errno
import os
import re

# of what may be wrong with a file, HDF5 says one of these
FILE_ERRORS = (OSError, RuntimeError, ValueError, KeyError)

_CAUSE = re.compile(r"error message = '([^']*)'")
# what is wrong with the disk or the directories, and not with the file
_OF_DISK = frozenset(
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EFBIG EROFS EACCES EPERM EIO EMFILE EEXIST ENOTDIR".split()  # noqa: SIM905 - one line
)


def fault_of(error: Exception) -> str:
    """What was wrong, in the same words each time: HDF5 adds the time, addresses and many lines."""
    cause = _CAUSE.search(str(error))
    if cause:
        return cause[1]
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    return str(error).partition("\n")[0]


def is_of_disk(error: Exception) -> bool:
    """Whether the disk, or a reader in this process, is the cause, and no damaged file: it may be mended by waiting."""
    # HDF5 passes on the system's words, and not always its number
    words = [*map(os.strerror, _OF_DISK), "already open"]
    return getattr(error, "errno", None) in _OF_DISK or any(text in str(error) for text in words)
