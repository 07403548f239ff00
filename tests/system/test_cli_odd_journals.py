"""Files in a directory of journals that are none: they are listed, and neither stop nor break a command."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from blissdata_bluesky.journal import Header
from blissdata_bluesky.journal.records import frame

from .collected import load
from .test_cli_journal import command, listed
from .test_recovery import UID, killed

# long enough for a busy computer; what hangs takes longer
SECONDS = 60


def typed(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in a process of its own, which a hanging one does not outlive."""
    line = [sys.executable, "-m", "blissdata_bluesky", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, "COLUMNS": "80"})
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@contextmanager
def inside(directory: Path) -> Iterator[None]:
    """The path of a socket must be short."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


def make_socket(path: Path) -> None:
    with inside(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


ODD: dict[str, Callable[[Path], Any]] = {
    "fifo": os.mkfifo,
    "socket": make_socket,
    "directory": Path.mkdir,
    "loop": lambda path: path.symlink_to(path),
    "nowhere": lambda path: path.symlink_to(path.with_name("not-there")),
}


def make_odd(directory: Path) -> list[Path]:
    paths = [directory / f"{name}.journal" for name in ODD]
    for path in paths:
        ODD[path.stem](path)
    return paths


def write_header(path: Path, **members: object) -> None:
    right = ormsgpack.unpackb(Header("some-uid", "publisher", "redis://127.0.0.1:1/0").pack())
    payload = ormsgpack.packb(right | members)
    path.write_bytes(frame(payload) + payload)


def test_what_is_no_file_is_listed_and_the_journal_beside_it_is_published(redis_url: str, tmp_path: Path) -> None:
    killed(redis_url, tmp_path, 0, 5, stopped=True)
    odd = make_odd(tmp_path)
    place = ("--journal", tmp_path)
    code, output, _ = typed("journal", "ls", "--json", *place)
    found = {one["path"]: one for one in json.loads(output)}
    assert code == 0
    assert all(found[str(path)]["uid"] is None and found[str(path)]["in_words"] for path in odd)
    assert len(found) == len(odd) + 1
    code, output, _ = typed("journal", "ls", *place)
    assert code == 0
    assert all(path.name in output for path in odd)
    code, output, _ = typed("doctor", "--json", "--redis", redis_url, *place)
    assert code == 0
    assert len(json.loads(output)["journal"]["unreadable"]) == len(odd)
    assert typed("journal", "repair", "--redis", redis_url, *place)[0] == 0
    assert typed("journal", "export", UID[:8], "--jsonl", *place)[0] == 0
    code, output, _ = typed("journal", "replay", "--all", "--redis", redis_url, *place)
    assert (code, output.count(UID)) == (0, 1)
    assert len(load(redis_url, UID).streams["primary:number"]) == 5
    assert all(os.path.lexists(path) for path in odd), "somebody's file was taken away"


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_file_is_refused_by_name(redis_url: str, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.journal"
    ODD[name](path)
    for arguments in (("export", path, "--jsonl"), ("replay", path, "--redis", redis_url)):
        code, _, error = typed("journal", *arguments)
        assert (code, error.count("\n")) == (2, 1)
        assert str(path) in error


def test_marks_that_are_no_file_are_none(redis_url: str, tmp_path: Path) -> None:
    killed(redis_url, tmp_path, 5, 0, stopped=True)
    [marks] = tmp_path.glob("*.marks")
    marks.unlink()
    os.mkfifo(marks)
    code, output, _ = typed("journal", "ls", "--json", "--journal", tmp_path)
    assert code == 0
    assert json.loads(output)[0]["unsent"] > 0
    marks.unlink()
    assert command("replay", "--all", "--redis", redis_url, "--journal", tmp_path)[0] == 0


@pytest.mark.parametrize(
    "members",
    [
        {"created": None},
        {"uid": 7},
        {"created": float("nan")},
        {"created": 1e300},
        {"created": -1e300},
        {"owner": f"{socket.gethostname()}:\u00b2"},
        {"owner": f"{socket.gethostname()}:{10**30}"},
        {"uid": "[/red]\x1b[2J", "target": "[bold]"},
    ],
    ids=str,
)
def test_a_header_that_nobody_wrote(tmp_path: Path, members: dict[str, object]) -> None:
    write_header(tmp_path / "hostile.journal", **members)
    write_header(tmp_path / "right.journal")
    assert len(listed(tmp_path)) == 2
    with (tmp_path / "hostile.journal").open() as file:
        # as if somebody published it
        fcntl.flock(file, fcntl.LOCK_EX)
        code, output, _ = command("ls", "--journal", tmp_path)
    assert code == 0
    assert "some-uid" in output
    assert "\x1b" not in output
    code, output, _ = typed("doctor", "--journal", tmp_path)
    assert code == 0
    assert "\x1b" not in output


def test_a_start_document_that_is_none(tmp_path: Path) -> None:
    for number, payload in enumerate((ormsgpack.packb(7), ormsgpack.packb([1, 2]), ormsgpack.packb(["start", None]))):
        path = tmp_path / f"{number}.journal"
        write_header(path, uid=f"uid-{number}")
        path.write_bytes(path.read_bytes() + frame(payload) + payload)
        code, _, error = command("export", path, "--jsonl")
        assert code in {0, 1}
        assert error.count("\n") == code
    assert len(listed(tmp_path)) == 3
    assert command("ls", "--journal", tmp_path)[0] == 0
    assert typed("doctor", "--journal", tmp_path)[0] == 0


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b.journal")).write_bytes(b"nonsense")
    assert len(listed(tmp_path)) == 1
    for arguments in (("journal", "ls"), ("doctor",)):
        code, output, _ = typed(*arguments, "--journal", tmp_path)
        assert code == 0
        assert "\x1b" not in output
