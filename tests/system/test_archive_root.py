"""The mark by which the root of an archive is known."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from blissdata_bluesky.archive.root import MARK_NAME, ArchiveRoot, path_beside

ARCHIVERS, TIMES = 4, 50


def test_archivers_that_begin_at_once_agree(tmp_path: Path) -> None:
    together = threading.Barrier(ARCHIVERS)

    def begin(journal: Path, root: Path) -> bool:
        together.wait()
        return ArchiveRoot(journal, root).is_there

    with ThreadPoolExecutor(ARCHIVERS) as pool:
        for number in range(TIMES):
            journal, root = tmp_path / f"journal{number}", tmp_path / f"archive{number}"
            journal.mkdir()
            begun = [pool.submit(begin, journal, root) for _ in range(ARCHIVERS)]
            assert all(future.result() for future in begun)
            assert ArchiveRoot(journal, root).is_there
            assert [path.name for path in root.iterdir()] == [MARK_NAME]
            assert list(journal.iterdir()) == [path_beside(journal, root, ".root")]


def test_another_one_makes_the_mark_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the moment between looking and making it."""
    code = """
        import sys
        from pathlib import Path
        from blissdata_bluesky.archive.root import ArchiveRoot
        ArchiveRoot(*map(Path, sys.argv[1:]))
    """
    root = tmp_path / "archive"
    exists = Path.exists
    made: list[str] = []

    def late(path: Path, **options: Any) -> bool:
        found = exists(path, **options)
        if path == root / MARK_NAME and not found:
            monkeypatch.undo()
            subprocess.run([sys.executable, "-c", textwrap.dedent(code), tmp_path, root], check=True)
            made.append(path.read_text())
        return found

    monkeypatch.setattr(Path, "exists", late)
    assert ArchiveRoot(tmp_path, root).is_there
    # the other one is at work with it
    assert [(root / MARK_NAME).read_text()] == made
    assert ArchiveRoot(tmp_path, root).is_there
    assert {path.name for path in root.iterdir()} == {MARK_NAME}


def test_the_mark_is_on_the_disk_before_it_is_relied_upon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk: set[int] = set()
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        on_disk.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    root = tmp_path / "some" / "where"
    ArchiveRoot(tmp_path, root)
    for what in (root / MARK_NAME, root, root.parent, tmp_path, path_beside(tmp_path, root, ".root")):
        assert what.stat().st_ino in on_disk, what


def test_a_root_that_has_its_mark_is_only_looked_at(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    ArchiveRoot(tmp_path, root)
    before = root.stat().st_mtime_ns
    # the directory of other journals
    (tmp_path / "other").mkdir()
    assert ArchiveRoot(tmp_path / "other", root).is_there
    assert root.stat().st_mtime_ns == before
