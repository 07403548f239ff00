"""The benchmarks at their smallest: they are run by hand, a few times a year, and must not rot meanwhile.

Those of `benchmarks.faults` are run by `test_promise_*`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 400

# what is run → how many tables it prints
SMALLEST = {
    "from benchmarks import archive; archive.alone(1000, 1)": 1,
    "from benchmarks import archive; archive.beside(1000, 1)": 2,
    "from benchmarks import catalog; assert len({run.uid for run in catalog.made_up(30)}) == 30": 0,
    "from benchmarks import reader; assert len([*reader.noisy_run(20, 0)]) == 23": 0,
    """
import tempfile, pathlib
from benchmarks import writer
with tempfile.TemporaryDirectory() as directory, writer.RedisServer() as redis:
    writer.latencies(redis.url, pathlib.Path(directory), 0.2)
""": 1,
}
# beside servers of others, which take long to start
LONG = {
    "from benchmarks import archive; archive.reading(1000, 1)": 1,
    "from benchmarks import catalog; catalog.main(30)": 1,
    "from benchmarks import catalog; catalog.main(30, postgresql=True)": 1,
    "from benchmarks import reader; reader.compare(100)": 1,
    "from benchmarks import writer; writer.compare_all(2000, 1)": 7,
}


@pytest.mark.parametrize(
    ("code", "tables"),
    [*SMALLEST.items(), *(pytest.param(*one, marks=pytest.mark.long) for one in LONG.items())],
)
def test_at_their_smallest(code: str, tables: int) -> None:
    # a process of its own: some of them freeze what is to be collected, and keep connections until they end
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("┏") == tables, done.stdout
