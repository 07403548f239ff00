"""The Python blocks of README and docs, run in order as one session."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from bluesky.run_engine import RunEngine

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/tutorial.md", "docs/reference/redis.md", "docs/how-to/deploy.md"]


def blocks(page: str) -> list[str]:
    """The page's blocks of Python, indented ones included."""
    found = re.findall(r"^( *)```python\n(.*?)^ *```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page: str, RE: RunEngine, redis_url: str, server: Any, client: Any, tmp_path: Path) -> None:
    names: dict[str, Any] = {"redis_url": redis_url, "url": redis_url, "tiled_url": server.url, "RE": RE}
    names["journal"] = tmp_path
    pages = [page] if "RE" in "".join(blocks(page)) else ["README.md", page]
    try:
        for block in [block for page in pages for block in blocks(page)]:
            exec(compile(here(block, redis_url), page, "exec"), names)
            # a reader takes longer, too: Tiled shows within a second that a run has stopped
            time.sleep(1)
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
    assert names["writer"].close(10)
    if "client" in names:
        names["client"].context.http_client.close()


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"
