"""The parser of Flint, ESRF's live display, as it comes with BLISS 2.1: its releases after that are not on PyPI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

# BLISS asks for versions that go with nothing else here, so it has a directory of its own, with what its parser needs
_PACKAGES = ["bliss==2.1.2", "gevent", "greenlet", "zope.event", "zope.interface", "louie", "tabulate", "networkx"]
_QT = ["PyQt6==6.11.*", "PyQt6-Qt6==6.11.*", "PyQt6-sip>=13.8,<14"]
_READER = Path(__file__).with_name("flint_reader.py")


class Flint:
    """Reads `scan.info` in a process of its own, without a screen."""

    def __init__(self, directory: Path) -> None:
        """Install it. Skips the test where the package index, or what Qt needs of the system, is missing."""
        self._environment = os.environ | {"PYTHONPATH": str(directory), "QT_QPA_PLATFORM": "offscreen"}
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--target",
            directory,
        ]
        if (done := subprocess.run([*pip, *_PACKAGES, *_QT], capture_output=True, text=True)).returncode:
            pytest.skip(f"Flint's parser cannot be installed: {done.stderr[-500:]}")
        probe = [sys.executable, "-c", "from PyQt6 import QtGui"]
        if (done := subprocess.run(probe, env=self._environment, capture_output=True, text=True)).returncode:
            pytest.skip(f"Qt, which Flint's parser needs, does not start here: {done.stderr[-500:]}")

    def read(self, infos: Mapping[str, Any]) -> Any:
        """What its parser makes of the infos of these scans (`flint_reader`), and what it complains of."""
        done = subprocess.run(
            [sys.executable, _READER], env=self._environment, input=json.dumps(infos), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
