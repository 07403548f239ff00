"""Which directories may be read, and how the paths of detectors' hosts are spelled here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from ..errors import ExternalRefusedError, ExternalRootsError

ROOTS_VARIABLE = "BLISSDATA_BLUESKY_ROOTS"
"""Environment variable with the entries of `Roots.parse`, separated by `;`."""

HOW_TO_ALLOW = f"list its directory in {ROOTS_VARIABLE} or with --external-root"

_LOCAL_HOSTS = {"", "localhost", "127.0.0.1", "::1", "[::1]"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+):")
_DRIVE = re.compile(r"[A-Za-z]:($|[/\\])")
_TARGET = re.compile(r"=(?=/|\\\\|[A-Za-z]:[/\\])")


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A path as somebody's host spells it, or the beginning of one."""

    host: str
    drive: str
    parts: tuple[str, ...]

    @property
    def ignores_case(self) -> bool:
        return bool(self.host or self.drive)

    def below(self, beginning: _Spelling) -> tuple[str, ...] | None:
        """What is left of the path after `beginning`; None when it begins otherwise."""
        length = len(beginning.parts)
        if (self.host, self.drive) != (beginning.host, beginning.drive):
            return None
        return self.parts[length:] if _same(self.parts[:length], beginning.parts, self.ignores_case) else None


@dataclass(frozen=True, slots=True)
class _Root:
    beginning: _Spelling
    target: Path


class Roots:
    """Directories that may be read. Without any, nothing may.

    Whatever is asked for, a document's URI or path, must begin with the path of a root as the detector's host spells
    it; the longest that fits is replaced by the directory here. What comes out, with all symbolic links and `..`
    resolved, must lie in the directory of some root.
    """

    def __init__(self, roots: Iterable[_Root] = ()) -> None:
        self._roots = sorted(roots, key=lambda root: len(root.beginning.parts), reverse=True)

    @classmethod
    def configured(cls) -> Self:
        """The roots of the environment variable `BLISSDATA_BLUESKY_ROOTS`. Raises ExternalRootsError."""
        return cls.parse(entry for entry in os.environ.get(ROOTS_VARIABLE, "").split(";") if entry.strip())

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        r"""One root for each entry: a directory, or `<path on the detector's host>=<directory here>`.

        The former is a path (`/ioc/data`), a Windows path (`C:\data`, `\\host\share`), or a file URI. Raises
        ExternalRootsError for what is neither, and for two entries with one path.
        """
        roots = [_root(entry.strip()) for entry in entries]
        for number, root in enumerate(roots):
            if any(root.beginning.below(other.beginning) == () for other in roots[:number]):
                raise ExternalRootsError(
                    f"the path of {root.target} stands twice among the roots: leave one of them out"
                )
        return cls(roots)

    def resolve(self, uri: str) -> Path:
        """Where the file of a URI, or of a path as the detector's host spells it, really is: no link is left in it.

        It need not exist. Raises ExternalRefusedError when it may not be read.
        """
        spelling = _spelled(uri)
        for root in self._roots:
            below = spelling.below(root.beginning)
            if below is not None:
                return self.inside(root.target.joinpath(*below), uri)
        raise ExternalRefusedError(
            f"{uri!r} is in none of the directories that may be read: {self._how_to_allow(spelling)}"
        )

    def inside(self, path: Path, name: str) -> Path:
        """A path of this host with all links resolved. Raises ExternalRefusedError when that is outside the roots."""
        real = _real(path, name)
        if any(real.is_relative_to(_real(root.target, name)) for root in self._roots):
            return real
        raise ExternalRefusedError(
            f"{name!r} leads to {real}, outside the directories that may be read, by a link or by '..': {HOW_TO_ALLOW}"
        )

    def _how_to_allow(self, spelling: _Spelling) -> str:
        return f"{HOW_TO_ALLOW}, as {_shown(spelling)}=/its/directory/here" if spelling.ignores_case else HOW_TO_ALLOW


def _root(entry: str) -> _Root:
    # `=` may stand in either path: the last one that begins an absolute path divides
    *given, target = _TARGET.split(entry)
    beginning = "=".join(given) if given else target
    try:
        spelling = _spelled(beginning)
    except ExternalRefusedError as error:
        raise ExternalRootsError(f"{entry!r} is no directory of detector files: {error}") from None
    if not Path(target).is_absolute() or "\0" in target:
        raise ExternalRootsError(
            f"{entry!r} is no directory of detector files: give an absolute path, or, for a path that has another name "
            f"here, {beginning}=/its/directory/here"
        )
    if ".." in spelling.parts:
        raise ExternalRootsError(f"{entry!r} is no directory of detector files: it has '..' in it")
    return _Root(spelling, Path(target))


def _spelled(uri: str) -> _Spelling:
    """The parts of a URI or path. Raises ExternalRefusedError when it names no file."""
    if "\0" in uri:
        raise ExternalRefusedError(f"{uri!r} has a NUL byte in it, and names no file")
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return _spelled_path(uri, uri)
    if scheme[1].lower() != "file":
        raise ExternalRefusedError(f"{uri!r} is no file: {scheme[1]}: cannot be read; only files can")
    return _spelled_uri(uri, unquote(uri[len("file:") :]))


def _spelled_uri(uri: str, path: str) -> _Spelling:
    if "\0" in path:
        raise ExternalRefusedError(f"{uri!r} has a NUL byte in it, and names no file")
    host = ""
    if path.startswith("//"):
        # "///data", "//host/data", "////host/share" (a UNC path after no host)
        host, _, path = path[2:].partition("/")
        if _DRIVE.match(host):
            host, path = "", f"{host}/{path}"
        elif host and path.startswith("/"):
            # "//localhost//data" is made by those who join a host and an absolute path
            path = path.lstrip("/")
        path = f"/{path}"
    if host.lower() in _LOCAL_HOSTS:
        return _spelled_path(uri, path[1:] if _DRIVE.match(path[1:]) else path)
    return _Spelling(host.lower(), "", _parts(path))


def _spelled_path(uri: str, path: str) -> _Spelling:
    if _DRIVE.match(path):
        return _Spelling("", path[0].lower(), _parts(path[2:].replace("\\", "/")))
    if path.startswith(("\\\\", "//")):
        host, _, share = path[2:].replace("\\", "/").partition("/")
        if host in {"", ".", "?"}:
            raise ExternalRefusedError(f"{uri!r} is no path of a file that can be mapped")
        return _Spelling(host.lower(), "", _parts(share))
    if not path.startswith("/"):
        raise ExternalRefusedError(f"{uri!r} is no absolute path: nobody can say where it begins")
    return _Spelling("", "", _parts(path))


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in {"", "."})


def _same(one: tuple[str, ...], other: tuple[str, ...], ignores_case: bool) -> bool:  # noqa: FBT001
    if ignores_case:
        return [part.casefold() for part in one] == [part.casefold() for part in other]
    return one == other


def _real(path: Path, name: str) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        # too long, a lone surrogate, a loop of links
        raise ExternalRefusedError(f"{name!r} cannot be the path of a file: {error}") from None


def _shown(spelling: _Spelling) -> str:
    directory = "/".join(spelling.parts[:-1])
    return f"{spelling.drive.upper()}:/{directory}" if spelling.drive else f"file://{spelling.host}/{directory}"
