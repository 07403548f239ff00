"""What is common to all commands: how they end when they are interrupted, and names of directories."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from blissdata_bluesky.catalog import Registrar, catalog_of
from blissdata_bluesky.cli import app

from .archived import Place
from .emitted import whole_run
from .tiled_runs import eventually

PROGRAM = str(Path(sys.executable).with_name("blissdata-bluesky"))
SECONDS = 90


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_registering_is_interrupted(tmp_path: Path, how: signal.Signals) -> None:
    place = Place(tmp_path)
    place.whole(whole_run(5))
    place.archive()
    catalog = catalog_of(place.root)
    Registrar(catalog).close()
    # it has to wait for this one
    other = sqlite3.connect(catalog, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with subprocess.Popen(
        [PROGRAM, "register", str(place.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        opened = psutil.Process(process.pid).open_files
        eventually(lambda: any(Path(file.path).samefile(catalog) for file in opened()), SECONDS)
        process.send_signal(how)
        out, err = process.communicate(timeout=SECONDS)
    other.close()
    assert (process.returncode, out, err) == (130, "", "blissdata-bluesky: interrupted\n")
    assert CliRunner().invoke(app, ["register", str(place.root)]).exit_code == 0


def test_handlers_of_a_program_that_calls_it_are_left_alone(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    CliRunner().invoke(app, ["journal", "ls", "--journal", str(tmp_path)])
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize(
    "command",
    [
        ["archive", "--root", ""],
        ["archive", "--root", "archive", "--journal", ""],
        ["serve", "--archive", ""],
        ["serve", "--redis", "redis://127.0.0.1:1", "--journal", ""],
        ["register", ""],
        ["journal", "ls", "--journal", ""],
        ["doctor", "--journal", ""],
        ["listen", "--zmq", "127.0.0.1:1", "--redis", "redis://127.0.0.1:1", "--journal", ""],
        ["redis", "--directory", ""],
    ],
    ids=" ".join,
)
def test_an_empty_name_is_not_the_current_directory(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "it is empty: give a directory" in re.sub(r"[\s│]+", " ", result.stderr)
    assert list(tmp_path.iterdir()) == []
    here = CliRunner().invoke(app, ["journal", "ls", "--journal", "."])
    assert here.exit_code == 0


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["journal", "ls", "--journal", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "is a file: give a directory" in re.sub(r"[\s│]+", " ", result.stderr)
