"""Which server is started: what is given, else the packages, else what is on PATH."""

from pathlib import Path

import pytest

from blissdata_bluesky.errors import RedisServerNotFoundError
from blissdata_bluesky.server import find
from blissdata_bluesky.server.find import MODULE_FILES, find_installation


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_package", lambda name: None)
    monkeypatch.setenv("PATH", "/nonexistent")


def install(
    prefix: Path, folder: str = "lib/redis/modules", name: str = "redis-server", version: str = "8.2.3"
) -> Path:
    """Lay out an installation as the packages of Redis do."""
    for module in MODULE_FILES:
        (prefix / folder).mkdir(parents=True, exist_ok=True)
        (prefix / folder / module).touch()
    executable = prefix / "bin" / name
    executable.parent.mkdir(exist_ok=True)
    executable.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    executable.chmod(0o755)
    return executable


def test_the_packages_of_the_extra_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(install(tmp_path).parent))
    found = find_installation()
    assert found.executable.name == "valkey-server"
    assert tuple(module.name for module in found.modules) == MODULE_FILES


def test_what_is_given_goes_before_everything(tmp_path: Path) -> None:
    executable = install(tmp_path)
    module = tmp_path / "other.so"
    module.touch()
    assert find_installation(executable, [module]) == find.Installation(executable, (module,))


def test_an_executable_brings_the_modules_of_its_installation(tmp_path: Path) -> None:
    found = find_installation(install(tmp_path))
    assert found.modules == tuple(tmp_path / "lib/redis/modules" / name for name in MODULE_FILES)


def test_modules_are_found_through_a_symbolic_link(tmp_path: Path) -> None:
    executable = install(tmp_path / "cellar")
    link = tmp_path / "bin" / "redis-server"
    link.parent.mkdir()
    link.symlink_to(executable)
    assert len(find_installation(link).modules) == len(MODULE_FILES)


@pytest.mark.usefixtures("no_packages")
def test_redis_8_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = install(tmp_path)
    monkeypatch.setenv("PATH", str(executable.parent))
    assert find_installation().executable == executable


@pytest.mark.usefixtures("no_packages")
def test_redis_stack_on_path_after_a_redis_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = install(tmp_path / "old", version="7.0.15")
    stack = install(tmp_path / "stack", folder="lib")
    script = install(tmp_path / "stack", folder="lib", name="redis-stack-server")
    monkeypatch.setenv("PATH", f"{old.parent}:{script.parent}")
    assert find_installation().executable == stack


@pytest.mark.usefixtures("no_packages")
def test_the_error_says_what_to_install() -> None:
    with pytest.raises(RedisServerNotFoundError, match=r'pip install "blissdata-bluesky\[server\]".*URL'):
        find_installation()


def test_a_file_that_is_given_must_exist(tmp_path: Path) -> None:
    with pytest.raises(RedisServerNotFoundError, match="redis-server: no such file"):
        find_installation(tmp_path / "redis-server")
    with pytest.raises(RedisServerNotFoundError, match=r"rejson\.so: no such file"):
        find_installation(modules=[tmp_path / "rejson.so"])
