"""A catalog in PostgreSQL: served, filled by the command, away for a while, and not to be opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiled.queries import Eq, FullText
from typer.testing import CliRunner

from blissdata_bluesky.catalog import Registrar
from blissdata_bluesky.cli import app
from blissdata_bluesky.errors import CatalogError
from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.writer import BlissdataWriter

from .postgresql import PostgreSQL, a_server  # noqa: F401 - a fixture
from .registering import made_up
from .test_catalog_archived import ROWS, archived, check_rows, connected, get
from .tiled_runs import Run, publish, stopped


@pytest.fixture
def uri(postgresql: PostgreSQL) -> Iterator[str]:
    """An empty database; the server runs again afterwards."""
    yield postgresql.database()
    postgresql.start_if_stopped()


def test_an_archive_is_registered_and_served(redis_url: str, tmp_path: Path, postgresql: PostgreSQL, uri: str) -> None:
    kept, live = Run(scan_id=1), Run(scan_id=2)
    root = tmp_path / "archive"
    archived(redis_url, root, tmp_path / "journal", kept)
    result = CliRunner().invoke(app, ["register", str(root), "--catalog", uri])
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    shown = uri.replace(f":{postgresql.password}", "")
    assert f"runs listed in {shown}: 1;" in result.output
    with TiledServer(redis_url, archive=root, catalog=uri) as server, connected(server) as client:
        with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
            publish(writer, live.whole(ROWS, ["number", "integer", "image"]))
        stopped(client, live.uid)
        assert list(client) == [kept.uid, live.uid]
        assert [list(client.search(query)) for query in (Eq("start.scan_id", 1), FullText("success"))] == [
            [kept.uid],
            [kept.uid, live.uid],
        ]
        assert list(client.sort(("start.scan_id", -1))) == [live.uid, kept.uid]
        for run in (client[kept.uid], client[live.uid], client[kept.uid[:8]], client[-1]):
            check_rows(run)


def test_it_is_away_for_a_while(postgresql: PostgreSQL, uri: str, tmp_path: Path) -> None:
    search = "search/?filter[eq][condition][key]=start.scan_id&filter[eq][condition][value]=1"
    with Registrar(uri) as registrar, TiledServer(archive=tmp_path, catalog=uri) as server:
        registrar.register([made_up(1, archived=True)])
        assert len(get(server, search).json()["data"]) == 1
        postgresql.stop()
        for path in ("search/", search, f"metadata/{made_up(2, archived=True).uid}"):
            answer = get(server, path)
            assert (answer.status_code, answer.json()["detail"].startswith("The catalog's database")) == (503, True)
        with pytest.raises(CatalogError, match="start PostgreSQL there") as refused:
            registrar.register([made_up(2, archived=True)])
        assert postgresql.password not in str(refused.value)
        postgresql.start()
        registrar.register([made_up(2, archived=True)])
        answers = [get(server, "search/") for _ in range(3)]
        assert len(answers[-1].json()["data"]) == 2


def test_connections_that_were_cut_are_made_anew(postgresql: PostgreSQL, uri: str) -> None:
    with Registrar(uri) as registrar:
        registrar.register([made_up(1, archived=True)])
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        assert int(postgresql.psql(f"{cut} AND datname = '{uri.rpartition('/')[2]}'")) > 0
        registrar.register([made_up(2, archived=True)])
    assert postgresql.psql("SELECT count(*) FROM data_sources", uri.rpartition("/")[2]).strip() == "2"


def test_a_wrong_password_is_one_sentence(postgresql: PostgreSQL, uri: str) -> None:
    wrong = uri.replace(postgresql.password, "sesame")
    result = CliRunner().invoke(app, ["serve", "--redis", "redis://127.0.0.1:1", "--port", "0", "--catalog", wrong])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert "password authentication failed" in result.stderr
    assert "sesame" not in result.output
