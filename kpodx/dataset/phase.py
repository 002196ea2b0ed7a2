"""The dataset phase: source → questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kpodx.artifacts import save_questions, write_jsonl
from kpodx.dataset.building import Built, build, build_questions
from kpodx.runtime import PhaseContext
from kpodx.schema import Split

__all__ = ["build_questions", "run"]

DROPPED = "dropped.jsonl"
MOST_NAMED = 5


def run(context: PhaseContext) -> dict[str, object]:
    """Read or generate the questions, split them, and write `questions.jsonl`; nothing is written unless all is right.

    `dropped.jsonl` names each question that was dropped, where it stands, and why.

    Returns:
        How many questions there are by split, kind and number of steps, and how many were dropped and why.
    """
    built = build(context.recipe.dataset)
    save_questions(context.output, built.questions)
    write_jsonl(context.output / DROPPED, map(vars, built.dropped))
    for line in describe(built):
        context.progress.note(f"dataset: {line}")
    return summarize(built)


def describe(built: Built) -> Iterable[str]:
    """Yield one line for each thing that was left out or changed, and for each split that is missing."""
    for reason, count in built.counts().items():
        yield f"{count} questions dropped: {reason.replace('_', ' ')}{_examples(built, reason)}"
    for split, items in built.listed_but_dropped().items():
        names = [f"{item.id} ({item.detail or item.reason.replace('_', ' ')})" for item in items]
        yield f"{len(items)} of the listed {split} questions dropped: {_first(names)}"
    for remark, count in built.remarks.items():
        yield f"{remark.replace('_', ' ')}: {count} questions"
    for name in (Split.VALIDATION, Split.TEST):
        if not any(question.split is name for question in built.questions):
            yield f"no {name.value} questions, so there will be no {name.value} accuracy"


def _examples(built: Built, reason: str) -> str:
    if reason in ("over_the_limit", "not_in_split_ids"):
        return ""
    names = [item.id for item in built.dropped if item.reason == reason]
    return f" ({_first(names)}; all are in {DROPPED})"


def _first(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def summarize(built: Built) -> dict[str, object]:
    """Return counts by split, by kind, and by split and number of reference steps ("unknown" if the set has none)."""
    questions = built.questions
    steps = {split.value: Counter(q.num_steps for q in questions if q.split is split) for split in Split}
    listed = built.listed_but_dropped()
    return {
        "questions": {split.value: sum(q.split is split for q in questions) for split in Split},
        "answer_kinds": dict(Counter(q.answer_kind.value for q in questions)),
        "num_steps": {
            split: {
                "unknown" if n is None else str(n): counts[n] for n in sorted(counts, key=lambda n: (n is None, n or 0))
            }
            for split, counts in steps.items()
        },
        "dropped": built.counts(),
        **(
            {"listed_but_dropped": {split: [item.id for item in items] for split, items in listed.items()}}
            if listed
            else {}
        ),
        **({"remarks": dict(built.remarks)} if built.remarks else {}),
    }
