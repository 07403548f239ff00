"""Draws docs/images/default_plot.png, the window of `silx view` with the file of a real scan.

`python docs/images/make_default_plot.py` needs, beside what a development environment has, silx with Qt
(`pip install PyQt5 qtawesome pyopengl`), and no display.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bluesky import RunEngine
from bluesky.plans import scan
from ophyd.sim import SynAxis, SynGauss

from blissdata_bluesky import BlissdataWriter
from blissdata_bluesky.server import RedisServer

PICTURE = Path(__file__).with_name("default_plot.png")
SIZE = 960, 500
SECONDS = 60.0


def archived_scan(directory: Path) -> Path:
    """The file of a scan of a simulated diode."""
    journal, archive = directory / "journal", directory / "archive"
    x = SynAxis(name="x")
    diode = SynGauss("diode", x, "x", center=0.3, Imax=5000, sigma=0.7, noise="uniform", noise_multiplier=100)
    engine = RunEngine({"sample_name": "demo"}, context_managers=[])
    with (
        RedisServer() as redis,
        BlissdataWriter(redis.url, journal=journal, archive=archive, path_template="scan{scan_id}-{uid}.h5") as writer,
    ):
        engine.subscribe(writer)
        engine(scan([diode], x, -2, 2, 61))
        wait_until(lambda: not any(journal.glob("*.archive")))
    (file,) = archive.rglob("*.h5")
    return file


def wait_until(is_so: Callable[[], bool]) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


def draw(file: Path, picture: Path) -> None:
    """What `silx view FILE` shows when it has opened the file: the plot that the file says is its default one."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from silx.app.view.Viewer import Viewer
    from silx.gui import qt
    from silx.gui.hdf5 import Hdf5TreeView

    application = qt.QApplication([])
    viewer = Viewer()
    viewer.appendFile(str(file))
    viewer.resize(*SIZE)
    viewer.show()
    # the file is opened on a thread, and the plot is drawn when it has been laid out
    let_it_work(application)
    tree = viewer.findChild(Hdf5TreeView)
    tree.expandToDepth(1)
    tree.resizeColumnToContents(0)
    let_it_work(application)
    image = viewer.grab().toImage().convertToFormat(qt.QImage.Format_Indexed8, qt.Qt.ThresholdDither)
    if not image.save(str(picture)):
        raise OSError(f"{picture} cannot be written")
    viewer.close()


def let_it_work(application: Any) -> None:
    """Give Qt three seconds."""
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        application.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        draw(archived_scan(Path(directory)), PICTURE)
