"""The rest of a schedule, solved again when the difficulties have changed."""

from __future__ import annotations

import numpy as np

from kpodx.scheduling.schedule import Pace, Plan, SelectionRule, StepTable, solve_schedule
from kpodx.schema import Schedule


def is_revision_due(schedule: Schedule, stage: int, every: int) -> bool:
    """Return whether new difficulties can change what a stage and those after it give.

    They cannot at stage 0, which is solved before training. They cannot from the last stage T on, whose budget holds
    all that is left, nor once no steps are given.

    Args:
        schedule: the schedule so far.
        stage: the stage that is about to begin.
        every: stages between two revisions, ≥ 1.
    """
    if stage == 0 or stage % every or stage >= schedule.num_stages - 1:
        return False
    return bool(schedule.input_steps[:, stage - 1].any())


def revise_schedule(
    schedule: Schedule, steps: StepTable, rule: SelectionRule, pace: Pace, *, stage: int
) -> tuple[Schedule, Plan]:
    """Return the schedule with its stages from `stage` on solved again, and the plan of those stages.

    Equations 9 to 13 hold with the new difficulties: B is their sum, D(t) keeps its share of B, and Σh(t-1) is what
    the stage before asks for, measured as it is now. What was released stays released.

    Args:
        schedule: the schedule so far; its stages before `stage` are over.
        steps: the steps of its rationales, in its order, with the new difficulties.
        rule: how the rationales of one selection are chosen.
        pace: how fast the budget grows.
        stage: 1 ≤ stage ≤ T, the stage that is about to begin.
    """
    assert schedule.num_stages == pace.full_stage + 1, (schedule.num_stages, pace.full_stage)
    plan = solve_schedule(steps, rule, pace, first_stage=stage, input_steps=schedule.input_steps[:, stage - 1])
    revised = Schedule(
        schedule.rationale_ids,
        np.concatenate([schedule.input_steps[:, :stage], plan.input_steps], axis=1),
        np.concatenate([schedule.planned[:stage], plan.planned]),
        np.concatenate([schedule.done[:stage], plan.done]),
    )
    return revised, plan
