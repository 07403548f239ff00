"""The demo's board says what differs, and nothing when all is well."""

from __future__ import annotations

import numpy as np
import pytest
from event_model import compose_run

from blissdata_bluesky.demo.board import READERS, Board
from blissdata_bluesky.demo.tally import Report, Tally, View

ROWS = 4


@pytest.fixture
def board() -> Board:
    """One finished run of two columns, which nobody has read."""
    board = Board()
    run = compose_run(metadata={"plan_name": "scan", "scan_id": 7, "num_points": ROWS})
    described = run.compose_descriptor(
        name="primary", data_keys={"det": {"dtype": "number", "shape": [], "source": "s"}}, object_keys={"det": ["det"]}
    )
    board.emit("start", run.start_doc)
    board.emit("descriptor", described.descriptor_doc)
    for index in range(ROWS):
        event = described.compose_event(data={"det": index / 3}, timestamps={"det": 0.0}, time=float(index))
        board.emit("event", event)
    board.emit("stop", run.compose_stop())
    return board


def read(board: Board, reader: str, det: np.ndarray, *, done: bool = True) -> None:
    (uid,) = board.runs
    tally = Tally()
    for half in np.array_split(np.arange(len(det)), 2):
        tally.add("time", half)
        tally.add("det", det[half])
    board.take(Report.from_json(Report(reader, uid, View("CLOSED", done, {"primary": tally})).to_json()))


def test_all_is_well_however_many_rows_came_at_once(board: Board) -> None:
    assert not board.done()
    for reader in READERS:
        read(board, reader, np.arange(ROWS) / 3)
    assert board.done()
    assert board.differences() == []


def test_a_row_too_few_a_wrong_value_and_a_missing_end_are_named(board: Board) -> None:
    blissdata, tiled = READERS
    read(board, blissdata, np.arange(ROWS - 1) / 3, done=False)
    read(board, tiled, np.array([0, 1 / 3, 2 / 3, 1.0000001]))
    assert not board.done()
    assert board.differences() == [
        "run 7 (scan): blissdata did not come to its end",
        "run 7 (scan), stream primary: 4 rows were emitted, 3 were read by blissdata",
        "run 7 (scan), stream primary: the values of det were read otherwise than emitted by Tiled",
    ]


def test_a_row_is_whole_when_every_column_has_it() -> None:
    tally = Tally()
    tally.add("image", np.zeros((3, 4, 5)))
    tally.add("time", [1.0, 2.0])
    assert tally.rows == 2


def test_runs_of_others_are_not_on_the_board(board: Board) -> None:
    board.take(Report(READERS[0], "another", View()))
    assert len(board.runs) == 1
