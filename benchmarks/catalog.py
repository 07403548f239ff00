"""Listing and searching many archived runs through Tiled over HTTP, beside a stock Tiled catalog of the same runs.

`python -m benchmarks.catalog [--runs N] [--postgresql]` prints the table of docs/performance.md.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
import psutil
import typer
import yaml
from rich.console import Console
from rich.table import Table
from sqlalchemy import insert
from tiled.catalog import from_uri as stock_from_uri
from tiled.catalog import orm
from tiled.client import from_uri
from tiled.queries import Comparison, Eq, FullText

from blissdata_bluesky.archive.root import MARK_NAME
from blissdata_bluesky.catalog import Registrar, Registration, catalog_of
from blissdata_bluesky.server.embedded import free_port
from tests.system.postgresql import running

from .reader import served

KEY = "secret"
PAGE = 100
REPEATS = 7
SPECS = [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}]
console = Console(width=130)


@dataclass
class Result:
    """Seconds of filling the database, seconds in HTTP by question, and MB of the server's memory."""

    filled: float
    seconds: dict[str, float]
    before: float
    after: float


def made_up(count: int) -> Iterator[Registration]:
    """Runs as beamlines have them, the same ones at each call: metadata of about 1 kB."""
    chance = random.Random(1)
    for number in range(count):
        uid = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        start = {
            "uid": uid,
            "scan_id": number,
            "time": 1.6e9 + 600 * number,
            "plan_name": chance.choice(["scan", "count", "grid_scan", "rel_scan", "fly"]),
            "plan_type": "generator",
            "detectors": ["eiger", "diode"],
            "motors": [f"m{chance.randrange(20)}"],
            "num_points": chance.randrange(1, 1000),
            "plan_args": {"detectors": ["eiger", "diode"], "args": [chance.random() for _ in range(3)], "num": 11},
            "hints": {"dimensions": [[["m1"], "primary"]]},
            "proposal": {
                "proposal_id": f"hg-{number // 500:04d}",
                "title": f"Oxides under pressure, batch{number // 500:04d}",
            },
            "sample_name": f"sample {chance.randrange(2000)}",
            "versions": {"bluesky": "1.14.0", "ophyd": "1.11.0"},
        }
        stop = {"uid": str(uuid.uuid4()), "run_start": uid, "time": start["time"] + 60, "exit_status": "success"}
        stop["num_events"] = {"primary": start["num_points"]}
        yield Registration(uid, start, stop, file=f"{number // 500}/{uid}.h5")


def fill_ours(uri: str, count: int) -> float:
    """Register the runs; seconds."""
    began = time.perf_counter()
    with Registrar(uri) as registrar:
        registrar.register(made_up(count))
    return time.perf_counter() - began


async def fill_stock(uri: str, count: int) -> None:
    """The same nodes in Tiled's own tables, without data sources: what is inside would be nodes as well."""
    tree = stock_from_uri(uri, init_if_not_exists=True)
    await tree.startup()
    runs = made_up(count)
    while some := list(itertools.islice(runs, 500)):
        rows = [
            {
                "key": run.uid,
                "parent": 0,
                "metadata": run.metadata,
                "structure_family": "container",
                "specs": [{"name": "BlueskyRun", "version": "3.0"}],
            }
            for run in some
        ]
        async with tree.context.engine.begin() as connection:
            await connection.execute(insert(orm.Node.__table__), rows)
    await tree.shutdown()


@contextmanager
def stock(uri: str, directory: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server as Tiled's documentation describes it, with the specs that Bluesky's clients go by."""
    port = free_port()
    config = {
        "authentication": {"single_user_api_key": KEY},
        "trees": [{"path": "/", "tree": "catalog", "args": {"uri": uri, "specs": SPECS}}],
        "uvicorn": {"host": "127.0.0.1", "port": port},
    }
    path = directory / "stock.yml"
    path.write_text(yaml.safe_dump(config))
    with (directory / "stock.log").open("w") as log:
        program = Path(sys.executable).with_name("tiled")
        server = subprocess.Popen([program, "serve", "config", path], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/api/v1"
        deadline = time.monotonic() + 60
        while not _answers(url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((directory / "stock.log").read_text())
            time.sleep(0.1)
        yield f"{url}?api_key={KEY}", psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url + "/").status_code == 200
    except httpx.TransportError:
        return False


def questions(client: Any, count: int) -> dict[str, Callable[[int], int]]:
    """What users ask, each time another one; each answers with how many runs came."""
    runs = list(itertools.islice(made_up(count), count // 2, count // 2 + REPEATS + 1))
    first = [run.start for run in runs]
    day = 24 * 3600

    def page(found: Any) -> int:
        return len(found.items().head(PAGE))

    return {
        f"first page of {PAGE}": lambda _: page(client),
        "a uid": lambda i: client[runs[i].uid] is not None,
        "8 letters of a uid": lambda i: client[runs[i].uid[:8]] is not None,
        "a scan_id": lambda i: client[first[i]["scan_id"]] is not None,
        "a page of a plan_name": lambda i: page(client.search(Eq("start.plan_name", first[i]["plan_name"]))),
        "one day": lambda i: page(
            client.search(Comparison("ge", "start.time", first[i]["time"])).search(
                Comparison("lt", "start.time", first[i]["time"] + day)
            )
        ),
        "a page of a sample_name": lambda i: page(client.search(Eq("start.sample_name", first[i]["sample_name"]))),
        "full text, one word": lambda i: page(client.search(FullText(first[i]["proposal"]["title"].split()[-1]))),
        "sorted by time, newest": lambda _: page(client.sort(("start.time", -1))),
    }


def measure(url: str, server: psutil.Process, count: int, filled: float) -> Result:
    """Ask everything again and again; the first answers are not counted."""
    client = from_uri(url)
    answers: list[httpx.Response] = []
    client.context.http_client.event_hooks["response"].append(answers.append)
    asked = questions(client, count)
    times: dict[str, list[float]] = {name: [] for name in asked}
    before = 0.0
    for number in range(REPEATS + 1):
        for name, question in asked.items():
            answers.clear()
            if not question(number):
                raise ValueError(f"{name}: nothing was found")
            times[name].append(sum(answer.elapsed.total_seconds() for answer in answers))
        before = before or server.memory_info().rss / 1e6
    client.context.http_client.close()
    return Result(
        filled, {name: median(some[1:]) for name, some in times.items()}, before, server.memory_info().rss / 1e6
    )


def ours(uri: str, root: Path, count: int) -> Result:
    """Our server, of archived runs alone."""
    filled = fill_ours(uri, count)
    # without it, the root would be taken for the mount point of an archive that is away
    (root / MARK_NAME).touch()
    command = ("blissdata-bluesky", "serve", "--archive", str(root), "--catalog", uri, "--port", "0")
    with served(*command, ready=r'from_uri\("(.*)"\)') as (url, server):
        return measure(url, server, count, filled)


def theirs(uri: str, root: Path, count: int) -> Result:
    """A stock server."""
    began = time.perf_counter()
    asyncio.run(fill_stock(uri, count))
    filled = time.perf_counter() - began
    with stock(uri, root) as (url, server):
        return measure(url, server, count, filled)


def main(
    runs: Annotated[int, typer.Option(help="How many runs.")] = 100_000,
    postgresql: Annotated[bool, typer.Option("--postgresql", help="In PostgreSQL, not in SQLite.")] = False,
) -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as directory, running() if postgresql else nullcontext() as database:
        root = Path(directory)
        uris = (
            [database.database() for _ in range(2)]
            if database
            else [str(catalog_of(root)), f"sqlite:///{root / 'stock.db'}"]
        )
        _print(ours(uris[0], root, runs), theirs(uris[1], root, runs), runs, "PostgreSQL" if database else "SQLite")


def _print(our: Result, their: Result, runs: int, database: str) -> None:
    table = Table(title=f"{runs} archived runs in {database}: HTTP, median ms")
    for name in ("", "ours", "stock Tiled catalog", "times as fast"):
        table.add_column(name, justify="right" if name else "left")
    for name, seconds in our.seconds.items():
        other = their.seconds[name]
        table.add_row(name, f"{1000 * seconds:.1f}", f"{1000 * other:.1f}", f"{other / seconds:.1f}")
    table.add_section()
    table.add_row("registering, ms a run", *(f"{1000 * it.filled / runs:.2f}" for it in (our, their)), "")
    table.add_row(
        "server, MB: after one round → at the end", *(f"{it.before:.0f} → {it.after:.0f}" for it in (our, their)), ""
    )
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
