"""What is at a path: a regular file or a directory that may be read, else a named error."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import (
    ExternalDataError,
    ExternalFormatError,
    ExternalMissingError,
    ExternalNotReadyError,
    ExternalRefusedError,
)
from .roots import Roots

HOW_TO_INSTALL = "pip install 'blissdata-bluesky[external]'"


def found_file(uri: str, roots: Roots) -> Path:
    """The file of a URI. Raises ExternalRefusedError, ExternalMissingError."""
    return require_file(roots.resolve(uri), uri)


def require_file(path: Path, uri: str) -> Path:
    """The path, at which there is a regular file. A pipe would keep its reader waiting for ever.

    Raises ExternalRefusedError, ExternalMissingError.
    """
    if not stat.S_ISREG(_mode(path, uri)):
        raise ExternalRefusedError(f"{shown(path, uri)} is no file, and is not opened")
    return path


def found_directory(uri: str, roots: Roots) -> Path:
    """The directory of a URI. Raises ExternalRefusedError, ExternalMissingError."""
    path = roots.resolve(uri)
    if not stat.S_ISDIR(_mode(path, uri)):
        raise ExternalRefusedError(f"{shown(path, uri)} is no directory, and is not opened")
    return path


def shown(path: Path, uri: str) -> str:
    """The path here, and what the documents say when that is another."""
    return str(path) if uri.endswith(str(path)) else f"{path} ({uri})"


def not_permitted(name: object) -> ExternalRefusedError:
    """What is said of a file that the operating system does not let this process read."""
    return ExternalRefusedError(f"{name} may not be read by the user of this process: mend its permissions")


def _mode(path: Path, uri: str) -> int:
    try:
        return path.stat().st_mode
    except PermissionError:
        raise not_permitted(shown(path, uri)) from None
    except OSError:
        raise ExternalMissingError(
            f"{shown(path, uri)} is not there. Was it moved, is its disk mounted here, or does it have another path here "
            "(give it as <path there>=<path here> in the roots)?"
        ) from None


@contextmanager
def decoding(where: str) -> Iterator[None]:
    """Whatever a library raises on a file that is damaged or not finished becomes ExternalNotReadyError."""
    try:
        yield
    except ExternalDataError:
        raise
    except PermissionError as error:
        raise not_permitted(where) from error
    except ImportError as error:
        raise not_installed(where, error) from error
    except Exception as error:
        raise ExternalNotReadyError(
            f"{where} cannot be read: it is truncated, or not yet flushed ({type(error).__name__}: {error}). Try again later; "
            "a finished file that cannot be read is damaged"
        ) from error


def not_installed(where: str, error: ImportError) -> ExternalFormatError:
    """What is said when a library is missing."""
    return ExternalFormatError(f"{where} needs {error.name}, which is not installed: {HOW_TO_INSTALL}")
