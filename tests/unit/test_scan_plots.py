"""What the info says of axes and plots, for start documents that say much, little, or what cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from blissdata.schemas.scan_info import ChannelDict
from hypothesis import given, settings
from hypothesis import strategies as st

from blissdata_bluesky.mapping import ChangeState

from .documents import INTEGER, NUMBER, descriptor, event, operations, stop
from .test_scan_info_limits import Validated

TEXT = {"dtype": "string", "shape": [], "source": "s"}
SPECTRUM = {"dtype": "array", "dtype_numpy": "<f8", "shape": [3], "source": "s"}
KEYS = {
    "x": NUMBER,
    "x_setpoint": NUMBER,
    "y": NUMBER,
    "z": NUMBER,
    "det": NUMBER,
    "other": INTEGER,
    "label": TEXT,
    "mca": SPECTRUM,
}
OWNERS = {"x": ["x", "x_setpoint"], "y": ["y"], "z": ["z"], "det": ["det"], "other": ["other"]}
HINTS = {"x": {"fields": ["x"]}, "y": {"fields": ["y"]}, "det": {"fields": ["det"]}, "other": {"fields": ["other"]}}
VALUES = dict.fromkeys(("x", "x_setpoint", "y", "z", "det"), 0.0) | {"other": 1, "label": "a", "mca": [1.0, 2.0, 3.0]}

PATTERNS = {"plan_pattern_module": "bluesky.plan_patterns"}
SCAN = {
    "motors": ["x"],
    "num_points": 5,
    "hints": {"dimensions": [[["x"], "primary"]]},
    "plan_pattern": "inner_product",
    "plan_pattern_args": {"num": 5, "args": ["x", 0, 8]},
    **PATTERNS,
}
GRID = {
    "motors": ["y", "x"],
    "num_points": 15,
    "shape": [3, 5],
    "extents": [[0, 2], [0, 8]],
    "snaking": [False, True],
    "hints": {"gridding": "rectilinear", "dimensions": [[["y"], "primary"], [["x"], "primary"]]},
}


def info(*, devices: Any = HINTS, keys: tuple[str, ...] = tuple(KEYS), **start: Any) -> Any:
    """Of a run with one stream; `keys` are its columns."""
    name, document = descriptor(**{key: KEYS[key] for key in keys})
    document |= {"hints": devices, "object_keys": OWNERS}
    run = [(name, document), event(1, {key: VALUES[key] for key in keys}), stop()]
    last = operations(run, **start)[-1]
    assert isinstance(last, ChangeState)
    return last.info


def curves(x: str, *values: str) -> list[dict[str, Any]]:
    """A plot of curves."""
    items = [{"kind": "curve", "x": f"primary:{x}", "y": f"primary:{y}", "y_axis": "left"} for y in values]
    return [{"kind": "curve-plot", "items": items}]


def scatter(x: str, y: str, value: str) -> list[dict[str, Any]]:
    """A scatter plot."""
    item = {"kind": "scatter", "x": f"primary:{x}", "y": f"primary:{y}", "value": f"primary:{value}"}
    return [{"kind": "scatter-plot", "items": [item]}]


def members(found: Any, key: str) -> dict[str, Any]:
    """What a channel has of axes."""
    wanted = ("start", "stop", "points", "axis_points", "axis_kind", "axis_id", "group")
    return {name: value for name, value in found["channels"][f"primary:{key}"].items() if name in wanted}


class TestOneDimension:
    def test_a_scan_is_curves_over_its_motor(self) -> None:
        found = info(**SCAN, keys=("x", "x_setpoint", "det", "other"))
        assert found["plots"] == curves("x", "det", "other")
        assert found["data_dim"] == 1
        assert members(found, "x") == {"start": 0.0, "stop": 8.0, "points": 5}
        assert members(found, "det") == {}

    def test_two_motors_move_together(self) -> None:
        pattern = {"num": 5, "args": ["x", 0, 8, "y", 0, -1]}
        dimensions = {"dimensions": [[["x", "y"], "primary"]]}
        found = info(**SCAN | {"motors": ["x", "y"], "plan_pattern_args": pattern, "hints": dimensions})
        assert found["plots"] == curves("x", "det", "other")
        assert members(found, "y") == {"start": 0.0, "stop": -1.0, "points": 5}

    @pytest.mark.parametrize(
        ("positions", "expected"),
        [([0, 1, 5, 7, 9], {"start": 0.0, "stop": 9.0}), ([0, 5, 1, 7, 9], {}), ([0, 1], {}), ("abcde", {})],
    )
    def test_positions_have_ends_when_they_go_one_way(self, positions: Any, expected: dict[str, float]) -> None:
        found = info(**SCAN | {"plan_pattern": "inner_list_product", "plan_pattern_args": {"args": ["x", positions]}})
        assert members(found, "x") == {**expected, "points": 5}

    def test_motors_that_are_no_names(self) -> None:
        assert members(info(**SCAN | {"motors": [["x"]]}), "x") == {"points": 5}

    def test_a_line_of_a_grid(self) -> None:
        found = info(num_points=5, shape=[5], extents=[[0, 8]], hints={"dimensions": [[["x"], "primary"]]})
        assert members(found, "x") == {"start": 0.0, "stop": 8.0, "points": 5}

    def test_a_count_is_curves_over_time(self) -> None:
        found = info(num_points=3, hints={"dimensions": [[["time"], "primary"]]}, keys=("det", "other"))
        assert found["plots"] == curves("time", "det", "other")
        assert found["npoints"] == 3

    def test_spectra_alone_are_left_to_the_client(self) -> None:
        found = info(num_points=3, hints={"dimensions": [[["time"], "primary"]]}, keys=("mca", "label"))
        assert "plots" not in found
        assert found["channels"]["primary:mca"]["dim"] == 1
        chain = found["acquisition_chain"]["primary"]
        assert (chain["spectra"], chain["images"]) == (["primary:mca"], [])

    def test_without_hints_the_first_number_is_drawn(self) -> None:
        assert info(**SCAN, keys=("x", "label", "det", "other"), devices={})["plots"] == curves("x", "det")

    def test_one_motor_without_dimensions(self) -> None:
        assert info(motors=["x"], keys=("x", "x_setpoint", "det"))["plots"] == curves("x", "det")

    @pytest.mark.parametrize("start", [{}, SCAN, GRID, {"hints": {"dimensions": [[["time"], "primary"]]}}])
    def test_the_name_of_the_plan_says_nothing(self, start: dict[str, Any]) -> None:
        parts = ("plots", "channels", "devices", "acquisition_chain")
        found = [
            {part: info(plan_name=name, **start).get(part) for part in parts} for name in ("scan", "grid_scan", "count")
        ]
        assert found[0] == found[1] == found[2]

    @pytest.mark.parametrize("start", [{}, {"motors": ["x", "y"]}, {"motors": []}, {"motors": ["nobody"]}])
    def test_a_plan_that_says_nothing_is_not_guessed(self, start: dict[str, Any]) -> None:
        found = info(plan_name="scan", num_points=5, **start)
        assert "plots" not in found
        assert "data_dim" not in found


class TestGrid:
    def test_the_fastest_axis_is_x(self) -> None:
        found = info(**GRID)
        assert found["plots"] == scatter("x", "y", "det")
        assert found["data_dim"] == 2
        common = {"points": 15, "group": "scatter"}
        fast = {"start": 0.0, "stop": 8.0, "axis_id": 0, "axis_points": 5, "axis_kind": "backnforth"}
        slow = {"start": 0.0, "stop": 2.0, "axis_id": 1, "axis_points": 3, "axis_kind": "forth"}
        assert members(found, "x") == common | fast
        assert members(found, "y") == common | slow
        assert members(found, "det") == members(found, "x_setpoint") == {"group": "scatter"}
        assert members(found, "label") == members(found, "mca") == {}

    def test_three_dimensions(self) -> None:
        dimensions = {"dimensions": [[["z"], "primary"], [["y"], "primary"], [["x"], "primary"]]}
        three = {"shape": [2, 3, 5], "extents": [[0, 1], [0, 2], [0, 8]], "snaking": [False, False, True]}
        found = info(**GRID | three | {"hints": dimensions, "num_points": 30})
        assert found["plots"] == scatter("x", "y", "det")
        assert found["data_dim"] == 3
        kinds = [(members(found, key)["axis_id"], members(found, key)["axis_kind"]) for key in "zyx"]
        assert kinds == [(2, "forth"), (1, "forth"), (0, "backnforth")]

    @pytest.mark.parametrize(("snake_axes", "kind"), [("False", "forth"), ("True", "backnforth"), ("['x']", None)])
    def test_lists_of_equal_steps_are_a_grid(self, snake_axes: str, kind: str | None) -> None:
        arguments = {"args": ["y", [0, 1, 2], "x", [0, 2, 4, 6, 8]], "snake_axes": snake_axes}
        start = {key: value for key, value in GRID.items() if key != "snaking"} | PATTERNS
        found = info(**start, plan_pattern="outer_list_product", plan_pattern_args=arguments)
        assert members(found, "x").get("axis_kind") == kind
        assert members(found, "x")["axis_points"] == 5

    @pytest.mark.parametrize(
        ("change", "lacks"),
        [
            ({"shape": [3]}, {"axis_points", "axis_kind"}),
            ({"shape": [3, 4]}, {"axis_points", "axis_kind"}),
            ({"shape": [True, 5]}, {"axis_points", "axis_kind"}),
            ({"shape": None}, {"axis_points", "axis_kind"}),
            ({"hints": GRID["hints"] | {"gridding": "rectilinear_nonsequential"}}, {"axis_points", "axis_kind"}),
            ({"snaking": [True]}, {"axis_kind"}),
            ({"snaking": ["no", "yes"]}, {"axis_kind"}),
            ({"snaking": None}, {"axis_kind"}),
            ({"extents": [[0, 2]]}, {"start", "stop"}),
            ({"extents": [[0, 2], [float("nan"), 8]]}, {"start", "stop"}),
            ({"extents": None}, {"start", "stop"}),
            (
                {
                    **PATTERNS,
                    "plan_pattern": "outer_list_product",
                    "plan_pattern_args": {"args": ["y", [0, 1, 2], "x", [0, 1, 2, 3, 8]]},
                },
                {"axis_points", "axis_kind"},
            ),
        ],
    )
    def test_what_is_missing_or_contradicts_is_left_out(self, change: dict[str, Any], lacks: set[str]) -> None:
        found = info(**GRID | change)
        every = {"start", "stop", "axis_id", "axis_points", "axis_kind", "points", "group"}
        assert set(members(found, "x")) == every - lacks
        assert found["plots"] == scatter("x", "y", "det")

    @pytest.mark.parametrize(
        "dimensions",
        [
            [[["y"], "primary"], [["nothing"], "primary"]],
            [[["y"], "primary"], [["x"], "dark"]],
            [[["x"], "primary"], [["x"], "primary"]],
            [[["y"], "primary"], [["label"], "primary"]],
            [[["y"], "primary"], [["mca"], "primary"]],
            [[["y"], "primary"], [[], "primary"]],
            [[["x"], "dark"]],
        ],
    )
    def test_no_plot_rather_than_a_wrong_one(self, dimensions: Any) -> None:
        found = info(**GRID | {"hints": {"dimensions": dimensions}})
        assert "plots" not in found
        assert members(found, "x") == {}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([*KEYS, "primary"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
spoilt = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys((*GRID, "plan_pattern_args"), anything)
    | {"plan_pattern": st.sampled_from(["inner_product", "inner_list_product", "outer_list_product"])},
)


@settings(max_examples=200, derandomize=True)
@given(spoilt, spoilt, st.sampled_from([SCAN, GRID]))
def test_no_start_document_is_too_odd(some: dict[str, Any], arguments: dict[str, Any], base: dict[str, Any]) -> None:
    found = info(**{**base, **PATTERNS, "plan_pattern_args": arguments, **some})
    json.dumps(found, allow_nan=False)
    Validated(info=found)
    for channel in found["channels"].values():
        assert set(channel) <= set(ChannelDict.__annotations__)
    for plot in found.get("plots", []):
        for item in plot["items"]:
            assert {name for key, name in item.items() if key in {"x", "y", "value"}} <= set(found["channels"])


class TestFields:
    """What a data key says reaches the channel."""

    @pytest.mark.parametrize(
        ("data_key", "expected"),
        [
            ({"units": "mm", "precision": 4}, {"unit": "mm", "decimals": 4}),
            ({"units": "", "precision": -1}, {}),
            ({"units": None, "precision": None, "limits": None}, {}),
            ({"limits": {"control": {"low": -1.5, "high": 2}}}, {"min": -1.5, "max": 2}),
            ({"limits": {"control": {"low": None, "high": 2.0}}}, {"max": 2.0}),
            ({"limits": {"display": {"low": 0, "high": 9}}}, {"min": 0, "max": 9}),
            ({"limits": {"control": {"low": 1, "high": 2}, "display": {"low": 0, "high": 9}}}, {"min": 1, "max": 2}),
            ({"lower_ctrl_limit": -3.0, "upper_ctrl_limit": 3.0}, {"min": -3.0, "max": 3.0}),
            ({"lower_ctrl_limit": 0, "upper_ctrl_limit": 0}, {}),
            ({"lower_ctrl_limit": float("-inf"), "upper_ctrl_limit": 3.0}, {"max": 3.0}),
            ({"limits": {"control": {"low": "a", "high": True}}}, {}),
        ],
    )
    def test_units_precision_and_limits(self, data_key: dict[str, Any], expected: dict[str, Any]) -> None:
        run = [descriptor(x=NUMBER | data_key), event(1, {"x": 1.0}), stop()]
        last = operations(run)[-1]
        assert isinstance(last, ChangeState)
        assert last.info["channels"]["primary:x"] == {"display_name": "x", "dim": 0, **expected}

    def test_choices_stand_with_the_device(self) -> None:
        run = [
            descriptor(mode=TEXT | {"choices": ["fast", "slow"]}, x=NUMBER),
            event(1, {"mode": "fast", "x": 1.0}),
            stop(),
        ]
        last = operations(run)[-1]
        assert isinstance(last, ChangeState)
        assert last.info["devices"]["primary"]["metadata"] == {"choices": {"primary:mode": ["fast", "slow"]}}
        Validated(info=last.info)


@pytest.mark.parametrize(("position", "expected"), [(0.9, {"start": 0.0, "stop": 8.0}), (10.0, {})])
@pytest.mark.parametrize("plan", [SCAN, GRID])
def test_a_relative_plan_states_how_far_and_not_where(
    plan: dict[str, Any], position: float, expected: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first event tells: a motor that does not begin where the plan says has another origin."""
    monkeypatch.setitem(VALUES, "x", position)
    found = members(info(**plan), "x")
    assert {name: value for name, value in found.items() if name in {"start", "stop"}} == expected
