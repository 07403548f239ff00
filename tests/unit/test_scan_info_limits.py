"""`scan.info` stays below what blissdata takes, follows its schema, and says what was left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from blissdata.schemas.scan_info import ScanInfoDict
from pydantic import BaseModel, ConfigDict

from blissdata_bluesky.mapping import ChangeState, RunMapper, scan_info

from .documents import NUMBER, descriptor, event, operations, start, stop


class Validated(BaseModel):
    """The schema holds an array, so it validates as a field only."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    info: ScanInfoDict


WIDE = {f"detector_{n:04}_of_many": {**NUMBER, "units": "counts", "precision": 3} for n in range(3000)}


def last_info(keys: dict[str, Any], **start: Any) -> Any:
    run = [descriptor(**keys), event(1, dict.fromkeys(keys, 1.0)), stop()]
    last = operations(run, **start)[-1]
    assert isinstance(last, ChangeState)
    return last.info


@pytest.mark.parametrize(
    ("keys", "start", "left_out"),
    [
        ({"x": NUMBER}, {}, []),
        ({"x": NUMBER}, {"much": "x" * 5_000_000}, ["start"]),
        ({"x": NUMBER}, dict.fromkeys(("plan_name", "operator", "beamline_id"), "x" * 2000000), ["start"]),
        (WIDE, {"much": "x" * 5_000_000}, ["start"]),
        ({name + "x" * 50: key for name, key in WIDE.items()}, {}, ["start", "channels"]),
        ({f"{n:05}" + "x" * 500: NUMBER for n in range(3000)}, {}, ["start", "channels", "devices"]),
        (
            {f"{n:05}" + "x" * 500: NUMBER for n in range(3000)},
            {"hints": {"dimensions": [[["time"], "primary"]]}},
            ["start", "channels", "plots", "devices"],
        ),
    ],
)
def test_info_stays_below_a_megabyte_and_valid(
    keys: dict[str, Any], start: dict[str, Any], left_out: list[str]
) -> None:
    info = last_info(keys, **start)
    assert len(json.dumps(info)) < 2**20
    assert info["bluesky"]["left_out"] == left_out
    assert "plots" not in info
    Validated(info=info)


def test_a_login_without_a_name_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found: 12345")

    monkeypatch.setattr(scan_info.getpass, "getuser", nobody)
    assert last_info({"x": NUMBER})["user_name"] == "unknown"


def test_why_a_run_is_not_whole_is_never_left_out() -> None:
    mapper = RunMapper(start(much="x" * 5_000_000))
    *_, closed = [*mapper.create(), *mapper.take([("incomplete", {"reason": "because " * 10_000}), stop()])]
    assert isinstance(closed, ChangeState)
    assert closed.info["bluesky"]["incomplete"] == ("because " * 10_000)[:2000]
    assert closed.info["bluesky"]["left_out"] == ["start"]
