"""Tiled's access policies and runs: the tags of a run hold for everything inside it, live and archived."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tiled.access_control.access_policies import DummyAccessPolicy
from tiled.client.context import Context
from tiled.server.app import build_app

from blissdata_bluesky.catalog import catalog_of
from blissdata_bluesky.tiled import from_uri
from blissdata_bluesky.writer import BlissdataWriter

from .test_catalog_archived import KEYS, ROWS, archived
from .tiled_runs import Run, eventually, publish

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")

INSIDE = (
    "metadata/{}/primary",
    "metadata/{}/primary/internal",
    "table/full/{}/primary/internal?format=application/json",
    "array/full/{}/primary/image?format=application/octet-stream",
    "array/full/{}/primary/internal/number?format=application/json",
)
READING = INSIDE[2:]


class TitlesOnly(DummyAccessPolicy):
    """Of what is tagged `closed`, only the metadata."""

    async def allowed_scopes(self, node: Any, principal: Any, authn_access_tags: Any, authn_scopes: Any) -> Any:
        return {"read:metadata"} if "closed" in node.access_tags else authn_scopes


@pytest.fixture
def both(redis_url: str, tmp_path: Path) -> Iterator[tuple[Any, Run, Run]]:
    """An HTTP client of a server with the policy, and two runs: an archived one, and a live one."""
    root, kept, live = tmp_path / "archive", Run(scan_id=1), Run(scan_id=2)
    archived(redis_url, root, tmp_path / "journal", kept)
    app = build_app(from_uri(redis_url, archive=root), access_policy=TitlesOnly())
    with Context.from_app(app) as context:
        with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
            publish(writer, live.whole(ROWS, KEYS))
        eventually(lambda: status(context, f"metadata/{live.uid}/primary/internal") == 200)
        yield context, kept, live


def status(context: Any, path: str) -> int:
    code: int = context.http_client.get(f"{context.api_uri}{path}").status_code
    return code


def close(catalog: Path, uid: str) -> None:
    """Tag a run, as an administrator does it."""
    with closing(sqlite3.connect(catalog)) as database, database:
        database.execute("INSERT OR IGNORE INTO access_tags (name, is_public) VALUES ('closed', 0)")
        database.execute(
            "INSERT INTO node_access_tags_association (node_id, tag_id, parent_id) "
            "SELECT nodes.id, access_tags.id, nodes.parent FROM nodes, access_tags WHERE key = ? AND name = 'closed'",
            (uid,),
        )


@pytest.mark.parametrize("which", [1, 2], ids=["archived", "live"])
def test_the_tags_of_a_run_hold_for_what_is_inside(both: Any, tmp_path: Path, which: int) -> None:
    context, tagged, other = both[0], both[which], both[3 - which]
    for path in INSIDE:
        assert status(context, path.format(tagged.uid)) == 200, path
    close(catalog_of(tmp_path / "archive"), tagged.uid)
    # nodes that were asked for lately are remembered for a while
    eventually(lambda: status(context, READING[0].format(tagged.uid)) == 403)
    for path in INSIDE:
        assert status(context, path.format(tagged.uid)) == (403 if path in READING else 200), path
        assert status(context, path.format(other.uid)) == 200, path
