"""The rest of a schedule with new difficulties: by hand, by property, and when it is due."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.scheduling.revision import is_revision_due, revise_schedule
from kpodx.scheduling.schedule import Pace, Plan, SelectionRule, StepTable, describe_stages, solve_schedule
from kpodx.scheduling.strategy import Strategy
from kpodx.schema import Schedule


def table(steps: list[list[float]]) -> StepTable:
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in steps])]).astype(np.int64)
    flat = np.array([d for own in steps for d in own], dtype=np.float64)
    return StepTable(offsets, flat, np.ones(len(flat), np.int64), np.arange(len(steps)) % 3)


def rule(strategy: Strategy = "kpod", seed: int = 0) -> SelectionRule:
    return SelectionRule(strategy, 12.0, np.random.default_rng(seed))


def as_schedule(plan: Plan) -> Schedule:
    names = tuple(f"r{row}" for row in range(len(plan.input_steps)))
    return Schedule(names, plan.input_steps, plan.planned, plan.done)


def test_a_revision_by_hand() -> None:
    # D/B = .3, .5475, 1. Stage 0 leaves one step of each given. Then the first steps turn out to cost 3 (a) and 1 (b).
    # Stage 1: B = 5, D = 2.7375, asked for .5 + .5, so 1.7375 are left: b's step fits, a's does not. Stage 2: a's step.
    before = as_schedule(solve_schedule(table([[2.0, 2.0], [5.0, 1.0]]), rule(), Pace(2)))
    assert before.input_steps.tolist() == [[1, 0, 0], [1, 1, 0]]
    after, plan = revise_schedule(before, table([[3.0, 0.5], [1.0, 0.5]]), rule(), Pace(2), stage=1)
    assert after.input_steps.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert after.rationale_ids == before.rationale_ids
    assert after.planned == pytest.approx([0.3, 0.3 + 0.7 * 0.5**1.5, 1.0])
    assert after.done == pytest.approx([0.3, 2 / 5, 1.0])
    assert [(row["stage"], row["selected"], row["share_released"]) for row in describe_stages(plan)] == [
        (1, 1, 0.5),
        (2, 1, 1.0),
    ]


def test_nothing_is_released_while_what_was_asked_for_stays_hard() -> None:
    # B = 4.2 and the student still owes 4.0 of what it was asked for: more than D(1) = 2.3. Nothing is taken back.
    before = as_schedule(solve_schedule(table([[2.0, 2.0], [5.0, 1.0]]), rule(), Pace(2)))
    after, plan = revise_schedule(before, table([[0.1, 2.0], [0.1, 2.0]]), rule(), Pace(2), stage=1)
    assert after.input_steps.tolist() == [[1, 1, 0], [1, 1, 0]]
    assert plan.done == pytest.approx([4.0 / 4.2, 1.0])


def test_what_was_learned_makes_room_for_more() -> None:
    # D/B = .5, .596, …: 3.577 of 6 at stage 1, but 3 are asked for already, so no step of 1 fits. With the released
    # steps learned, B = .33 and D = .197, of which .03 is asked for: one step of .1 fits, two do not.
    pace = Pace(3, initial_fraction=0.5)
    before = as_schedule(solve_schedule(table([[1.0, 1.0]] * 3), rule(), pace))
    assert before.input_steps[:, :2].tolist() == [[1, 1]] * 3
    after, plan = revise_schedule(before, table([[0.1, 0.01]] * 3), rule(), pace, stage=1)
    assert after.input_steps[:, 1].sum() == 2
    assert plan.done[0] == pytest.approx(0.13 / 0.33)


some_steps = st.lists(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=5), min_size=1, max_size=10)


@given(some_steps, st.sampled_from(["kpod", "reverse"]), st.integers(2, 6), st.data())
@settings(deadline=None, max_examples=150)
def test_the_same_difficulties_change_nothing(
    steps: list[list[float]], strategy: Strategy, full_stage: int, data: st.DataObject
) -> None:
    before = as_schedule(solve_schedule(table(steps), rule(strategy), Pace(full_stage)))
    stage = data.draw(st.integers(1, full_stage))
    after, _ = revise_schedule(before, table(steps), rule(strategy), Pace(full_stage), stage=stage)
    assert np.array_equal(after.input_steps, before.input_steps)
    assert np.array_equal(after.planned, before.planned)
    assert np.array_equal(after.done, before.done)


@given(
    some_steps,
    st.sampled_from(["kpod", "random", "length", "reverse"]),
    st.integers(2, 6),
    st.integers(1, 3),
    st.data(),
)
@settings(deadline=None, max_examples=200)
def test_given_steps_never_grow_again(
    steps: list[list[float]], strategy: Strategy, full_stage: int, delta: int, data: st.DataObject
) -> None:
    """Whatever the new difficulties are, revision after revision; at T every rationale has gained a step or is whole."""
    pace = Pace(full_stage, steps_per_increase=delta)
    schedule = as_schedule(solve_schedule(table(steps), rule(strategy), pace))
    for stage in range(1, full_stage + 1):
        new = [[data.draw(st.floats(0.0, 5.0)) for _ in own] for own in steps]
        before = schedule
        schedule, plan = revise_schedule(before, table(new), rule(strategy, stage), pace, stage=stage)
        assert plan.first_stage == stage
        assert np.array_equal(schedule.input_steps[:, :stage], before.input_steps[:, :stage])
        assert np.array_equal(schedule.done[:stage], before.done[:stage])
    assert schedule.num_stages == full_stage + 1 == len(schedule.planned) == len(schedule.done)
    given_steps = schedule.input_steps.astype(int)
    assert given_steps.min() >= 0
    assert np.all(np.diff(given_steps, axis=1) <= 0)
    assert np.all(np.diff(given_steps, axis=1) >= -delta)
    assert np.array_equal(given_steps[:, -1], np.maximum(given_steps[:, -2] - delta, 0))


def test_when_a_revision_is_due() -> None:
    schedule = Schedule(("a",), np.array([[3, 2, 2, 1, 0, 0, 0]], dtype=np.int16), np.ones(7), np.ones(7))
    due = {every: [stage for stage in range(9) if is_revision_due(schedule, stage, every)] for every in (1, 2, 3, 6)}
    # Not at 0, which is solved before training, not at T = 6, which releases all, and not at 5: nothing is given at 4.
    assert due == {1: [1, 2, 3, 4], 2: [2, 4], 3: [3], 6: []}
