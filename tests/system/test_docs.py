"""The Python blocks of README and docs, run in order as one session."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from bluesky.run_engine import RunEngine

from .tiled_runs import stopped

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/tutorial.md", "docs/reference/redis.md", "docs/how-to/deploy.md"]


def blocks(page: str) -> list[str]:
    """The page's blocks of Python, indented ones included."""
    found = re.findall(r"^( *)```python\n(.*?)^ *```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(
    page: str,
    RE: RunEngine,
    redis_url: str,
    server: Any,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"redis_url": redis_url, "url": redis_url, "tiled_url": server.url, "RE": RE}
    ended: list[str] = []
    RE.subscribe(lambda _, stop: ended.append(stop["run_start"]), "stop")
    names |= {"journal": tmp_path / "journal", "archive": tmp_path / "archive"}
    pages = [page] if "RE" in "".join(blocks(page)) else ["README.md", page]
    try:
        for block in [block for page in pages for block in blocks(page)]:
            exec(compile(here(block, redis_url), page, "exec"), names)
            # the next block may read what is listed only then
            for uid in ended:
                stopped(client, uid)
    finally:
        close(names)


def here(code: str, redis_url: str) -> str:
    """The code for this server, with writers and engines that the test can end."""
    code = re.sub(r"redis://(localhost:6379|user:password@host:6379)", redis_url, code)
    code = re.sub(r"RE\.subscribe\((BlissdataWriter\(.*?\))\)", r"RE.subscribe(writer := \1)", code)
    return re.sub(r"BlissdataWriter\(([^()]+)\)", r"BlissdataWriter(\1, journal=journal)", code).replace(
        "RE = RunEngine()", ""
    )


def close(names: dict[str, Any]) -> None:
    """End what the page leaves to the end of the process."""
    assert names["writer"].close(60)
    # an archiver ends when it has finished the files
    archivers = [child for child in psutil.Process().children() if is_archiver(child)]
    _, left = psutil.wait_procs(archivers, timeout=90)
    assert not left
    if "client" in names:
        names["client"].context.http_client.close()


def is_archiver(process: psutil.Process) -> bool:
    # it may just have ended
    with suppress(psutil.Error):
        return "archive" in process.cmdline()
    return False


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"
