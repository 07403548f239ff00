"""Where the file of a run stands: below the root, one for each run, whatever the start document says."""

from __future__ import annotations

import posixpath
import uuid
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blissdata_bluesky.mapping import DEFAULT_PATH_TEMPLATE, PathTemplate
from blissdata_bluesky.names import run_uuid, ulid

UID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"

TEMPLATES = [
    DEFAULT_PATH_TEMPLATE,
    "{uid}.nxs",
    "{proposal[proposal_id]}/{plan_name}/{uid}_{scan_id:05}.hdf5",
    "{a}{b}/{c}.{d}/{uid}/{plan_name}-{scan_id}.h5",
    "{time:%c}/.{a}./ {b} /{plan_name}{uid}.h5",
    "{time:.}.{time:.}./{a:>300}/{uid}.h5",
]


def relative(template: str, **start: Any) -> str:
    return PathTemplate(template).relative({"uid": UID, "time": 1.7e9, **start})


@pytest.mark.parametrize(
    ("template", "start", "path"),
    [
        (DEFAULT_PATH_TEMPLATE, {}, f"2023/11/14/{UID}.h5"),
        (DEFAULT_PATH_TEMPLATE, {"time": 1.7e9 - 86400 * 14 + 6400}, f"2023/11/01/{UID}.h5"),
        ("{scan_id:05}_{uid}.h5", {"scan_id": 7}, f"00007_{UID}.h5"),
        ("{scan_id:05}_{uid}.h5", {"scan_id": "seven"}, f"seven_{UID}.h5"),
        ("{proposal[proposal_id]}/{uid}.nxs", {"proposal": {"proposal_id": "hg-1"}}, f"hg-1/{UID}.nxs"),
        ("{a[b][c]}/{uid}.hdf5", {"a": {"b": {"c": 1.5}}}, f"1.5/{UID}.hdf5"),
        ("{a[b][c]}/{uid}.hdf5", {"a": {"b": 5}}, f"none/{UID}.hdf5"),
        ("{plan_name}/{uid}.h5", {}, f"none/{UID}.h5"),
        ("{plan_name}/{uid}.h5", {"plan_name": ["a"]}, f"none/{UID}.h5"),
        ("{plan_name}/{uid}.h5", {"plan_name": "../../etc"}, f"_.._etc/{UID}.h5"),
        ("{plan_name}/{uid}.h5", {"plan_name": ".."}, f"none/{UID}.h5"),
        ("{plan_name}/{uid}.h5", {"plan_name": " .hidden "}, f"hidden/{UID}.h5"),
        ("{plan_name}/{uid}.h5", {"plan_name": "a\\b\0c\nd\ud800e\u202ef"}, f"a_b_c_d_e_f/{UID}.h5"),
        ("{plan_name}/{uid}.h5", {"plan_name": "é ü"}, f"é ü/{UID}.h5"),
        ("{{x}}/{uid}.h5", {}, f"{{x}}/{UID}.h5"),
        ("{scan_id}/{uid}.h5", {"scan_id": 10**5000}, f"none/{UID}.h5"),
        ("{plan_name}_{uid}.h5", {"plan_name": "é" * 200}, "é" * 80 + f"_{UID}.h5"),
    ],
)
def test_paths(template: str, start: dict[str, Any], path: str) -> None:
    assert relative(template, **start) == path


@pytest.mark.parametrize("time", [None, "x", float("nan"), float("inf"), 1e300, [], 10**400])
def test_without_a_time_it_is_the_epoch(time: Any) -> None:
    assert relative(DEFAULT_PATH_TEMPLATE, time=time) == f"1970/01/01/{UID}.h5"
    assert PathTemplate().relative({"uid": UID}) == f"1970/01/01/{UID}.h5"


@pytest.mark.parametrize("uid", ["", "x", "../x", "a/b", UID.upper(), f"{{{UID}}}", "x" * 5000, "é", "a\0b"])
def test_a_uid_that_is_no_uuid_is_replaced(uid: str) -> None:
    assert PathTemplate("{uid}.h5").relative({"uid": uid}) == f"{ulid(run_uuid(uid))}.h5"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "no text"),
        (5, "no text"),
        ("", "does not end in .h5"),
        ("x.h5", "{uid}.* is missing"),
        ("{uid:.3}.h5", "{uid}.* is missing"),
        ("{{uid}}.h5", "{uid}.* is missing"),
        ("/a/{uid}.h5", "absolute"),
        ("~/{uid}.h5", "absolute"),
        ("C:/{uid}.h5", "absolute"),
        ("../{uid}.h5", "'..'"),
        ("a/../{uid}.h5", "'..'"),
        ("a..b/{uid}.h5", "'..'"),
        ("a\\{uid}.h5", "backslash"),
        ("a\0{uid}.h5", "control"),
        ("a\ud800{uid}.h5", "control"),
        ("{uid}", "does not end in .h5"),
        ("{uid}.txt", "does not end in .h5"),
        ("{uid}.H5", "does not end in .h5"),
        ("{uid.h5", "expected '}'"),
        ("uid}{uid}.h5", "Single '}'"),
        ("{}{uid}.h5", "no member"),
        ("{0}/{uid}.h5", "no member"),
        ("{a.b}/{uid}.h5", "no member"),
        ("{a.__class__}/{uid}.h5", "no member"),
        ("{a[b].c}/{uid}.h5", "no member"),
        ("{a[}/{uid}.h5", "no member|expected"),
        ("{a!r}/{uid}.h5", "conversion"),
        ("{a:{b}}/{uid}.h5", "nested format"),
        ("{time[a]}/{uid}.h5", "has no members"),
        ("{uid[a]}/{uid}.h5", "has no members"),
        ("{a}{uid}{b}.h5", "on both sides"),
        ("{a}-{uid}-{b}.h5", "on both sides"),
        ("x" * 170 + "{uid}.h5", "longer than 200 bytes"),
        ("{a}" * 60 + "/{uid}.h5", "longer than 200 bytes"),
    ],
)
def test_a_template_that_cannot_be_is_refused_with_a_reason(template: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        PathTemplate(template)
    assert "path_template" in str(refused.value)


TEXTS = st.text() | st.sampled_from(
    ["..", ".", "/", "\\", "../..", "/etc/passwd", "~", "C:", "\0", "\ud800", "a" * 300, "é" * 300, UID, "{uid}", "%s"]
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**5000) | TEXTS | st.lists(TEXTS)
STARTS = st.fixed_dictionaries(
    {"uid": TEXTS | st.uuids().map(str)},
    optional={
        "time": VALUES,
        "plan_name": VALUES,
        "scan_id": VALUES,
        "proposal": VALUES | st.dictionaries(st.just("proposal_id"), VALUES),
        **dict.fromkeys("abcd", VALUES),
    },
)


@settings(max_examples=300)
@given(st.sampled_from(TEMPLATES), STARTS)
def test_no_start_document_leads_out_of_the_root(template: str, start: dict[str, Any]) -> None:
    path = PathTemplate(template).relative(start)
    assert posixpath.normpath(path) == path
    assert not path.startswith(("/", "~"))
    assert not PureWindowsPath(path).is_absolute()
    assert path.endswith(Path(template).suffix)
    for component in path.split("/"):
        assert component not in {"", ".", ".."}
        assert len(component.encode()) <= 200
        assert component.isprintable() or not any(ord(char) < 32 for char in component)
        assert "\\" not in component


@settings(max_examples=300)
@given(st.sampled_from(TEMPLATES), STARTS, STARTS)
def test_two_runs_never_share_a_file(template: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    paths = [PathTemplate(template).relative(start) for start in (one, other)]
    assert (paths[0].lower() == paths[1].lower()) <= (one["uid"] == other["uid"])
    alike = {**one, "uid": other["uid"]}
    assert (PathTemplate(template).relative(alike).lower() == paths[0].lower()) == (one["uid"] == other["uid"])


def test_the_name_that_stands_for_a_uid_is_that_of_no_other_run() -> None:
    # a hostile run may choose as its uid what another one's uid is replaced by
    chosen = ulid(run_uuid("a/b"))
    names = {PathTemplate("{uid}.h5").relative({"uid": uid}).lower() for uid in ("a/b", chosen, chosen.lower())}
    assert len(names) == 3


@given(st.uuids())
def test_the_uid_is_never_cut(uid: uuid.UUID) -> None:
    path = relative("{plan_name}/{plan_name}{uid}.h5", uid=str(uid), plan_name="x" * 5000)
    assert path == f"{'x' * 200}/{'x' * 161}{uid}.h5"
