"""The page on subscribing: its blocks of Python, where it says that they belong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bluesky.run_engine import RunEngine

from blissdata_bluesky.journal import JournalDirectory

from .collected import Collector, assert_equal, columns
from .emitted import scalar_run
from .test_docs import blocks
from .tiled_runs import eventually
from .zmq_engine import PROBE, probe_uid
from .zmq_site import SECONDS, Listening, closed, found, listening, running_engine, running_proxy

PAGE = "docs/how-to/subscribe.md"
COUNT = """
import bluesky.plans as bp
from ophyd.sim import det
get_ipython().run_line_magic("load_ext", "autoreload")
get_ipython().run_line_magic("autoreload", "2")
get_ipython().run_line_magic("run", "-i {startup}")
(uid,) = RE(bp.count([det], 3))
print("uid", uid)
"""


def test_ipython(redis_url: str, tmp_path: Path) -> None:
    profile = tmp_path / "profile_default" / "startup"
    profile.mkdir(parents=True)
    startup = profile / "90-blissdata.py"
    (profile / "00-engine.py").write_text("from bluesky.run_engine import RunEngine\nRE = RunEngine({})\n")
    block = next(block for block in blocks(PAGE) if "globals()" in block)
    code = block.replace("redis://localhost:6379", redis_url).replace("/data/archive", str(tmp_path / "archive"))
    startup.write_text(code.replace('archive="', f'journal="{tmp_path / "journal"}", archive="'))
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "-c", COUNT.format(startup=startup)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    (uid,) = re.findall(r"uid (\S+)", done.stdout)
    scan = closed(redis_url, uid)
    assert scan.info["end_reason"] == "SUCCESS"
    assert len(scan.streams["primary:det"]) == 3
    # its archiver finishes what it can
    eventually(lambda: JournalDirectory(tmp_path / "journal").to_archive() == [], SECONDS)
    assert len(list((tmp_path / "archive").rglob(f"{uid}.h5"))) == 1
    assert JournalDirectory(tmp_path / "journal").paths() == []


@pytest.mark.parametrize("word", ["RE.subscribe(Publisher", "subs_decorator"])
def test_over_0mq(redis_url: str, tmp_path: Path, RE: RunEngine, word: str) -> None:
    import bluesky.plans as bp
    from ophyd.sim import det

    block = next(block for block in blocks(PAGE) if word in block)
    with running_proxy() as proxy, listening(proxy, redis_url, tmp_path / "journal") as listener:
        names: dict[str, Any] = {"RE": RE}
        code = block.replace("localhost:5577", proxy.into)
        code = code.replace("RE.subscribe(Publisher", "publisher = (Publisher").replace("\n\n\n@", "\n@")
        exec(compile(code, PAGE, "exec"), names)
        publisher = names["publisher"]
        try:
            heard_by(listener, publisher)
            if "measure" in names:
                (uid,) = RE(names["measure"](2))
            else:
                (uid,) = RE(bp.count([det], 2), publisher)
            scan = closed(redis_url, uid)
            assert scan.info["end_reason"] == "SUCCESS"
            assert len(scan.streams["primary:det"]) == 2
            assert listener.end() == 0
        finally:
            publisher.close()


def test_remote_dispatcher(redis_url: str, tmp_path: Path) -> None:
    """A process with bluesky's own subscriber and a writer, and a RunEngine in another one."""
    block = next(block for block in blocks(PAGE) if "dispatcher.start()" in block)
    journal = f'BlissdataWriter("{redis_url}", journal="{tmp_path / "journal"}")'
    with running_proxy() as proxy, running_engine(proxy, tmp_path) as engine:
        code = block.replace("localhost:5578", proxy.out).replace('BlissdataWriter("redis://localhost:6379")', journal)
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        try:
            sent: list[int] = []

            def probe() -> bool:
                sent.append(len(sent))
                engine.do(f"probe {sent[-1]}")
                assert process.poll() is None
                return any(found(redis_url, probe_uid(number)) for number in sent)

            eventually(probe, SECONDS)
            engine.do("scan 4")
            ((uid, documents),) = engine.runs().items()
            scan = closed(redis_url, uid)
            process.send_signal(signal.SIGINT)
            _, log = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            process.communicate()
    collector = Collector()
    for name, document in documents:
        collector(name, document)
    assert scan.info["end_reason"] == "SUCCESS"
    assert_equal(columns(scan), collector.streams(uid))
    assert "KeyboardInterrupt" in log


def heard_by(listener: Listening, publisher: Any) -> None:
    """From now on: before they are connected, 0MQ drops documents."""

    def probe() -> bool:
        run = scalar_run(0, plan_name=PROBE)
        run.stop()
        for name, document in (run.documents[0], run.documents[-1]):
            publisher(name, document)
        return any(PROBE in line and "ends" in line for line in listener.out)

    eventually(probe, SECONDS)
