"""P3: exactly once per run, stream and row, whatever is cut, lost, emptied, killed and published again meanwhile."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test

from .figure import Figure
from .history import History, Outcome
from .stage import stage


def once(examples: int, steps: int) -> Outcome:
    """About so many histories, with at most so many steps each; the same ones every time."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    History.outcome = outcome = Outcome()
    with stage() as History.stage:
        try:
            run_state_machine_as_test(History, settings=chosen)
        except FlakyStrategyDefinition:
            # after a difference nothing is as it was
            if not outcome.difference:
                raise
        outcome.faults["connection"] = History.stage.proxy.faults
    return outcome


def figures(short: bool) -> list[Figure]:
    outcome = once(15, 30) if short else once(150, 40)
    done = (
        f"{outcome.examples} histories of runs, {outcome.steps} steps, "
        + ", ".join(f"{what} {count}" for what, count in sorted(outcome.faults.items()))
        + f"; {outcome.rows} rows compared with a list"
    )
    found = outcome.difference or "0 differences"
    return [Figure("P3", done, found, "0 differences", not outcome.difference)]
