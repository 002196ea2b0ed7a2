"""The embedded question set: generated multi-step word problems with wordy rationales.

**Synthetic.** A problem is a short story told the way people tell one, with a sum per step. Every split draws from the same stories,
but a question belongs to the split that the hash of its text says, so that no test question can ever be in train.
Rationales are wordy on purpose, and a share of them holds a wrong sum that is carried to the end, as a teacher's mistakes would be.
So the set shows what filters, weights and schedules are for without any download.
"""

from __future__ import annotations

import hashlib
import random

from kpodx.dataset.stories import LEVELS, Draft, Level, Story, UnfitError
from kpodx.dataset.story_plots import PLOTS
from kpodx.dataset.story_rationales import write_rationale
from kpodx.dataset.story_words import ROLES, SPEAKERS, Person, draw_name, format_number
from kpodx.errors import DataError
from kpodx.runtime import derive_seed
from kpodx.schema import AnswerKind, Question, Split

WRONG_RATE = 0.06
MOST_TRIES = 200_000
"""Stories drawn in a row without a new question before the set is taken to be exhausted (a few seconds)."""

_BUCKETS = {Split.TRAIN: range(0, 80), Split.VALIDATION: range(80, 90), Split.TEST: range(90, 100)}


def split_of(question: str) -> Split:
    """Return the split that a question text belongs to, by its hash: 80 % train, 10 % validation, 10 % test."""
    bucket = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") % 100
    return next(split for split, buckets in _BUCKETS.items() if bucket in buckets)


def draw_story(rng: random.Random, num_steps: int, level: Level) -> Story | None:
    """Return a story with `num_steps` sums, or None if the drawn amounts do not fit each other."""
    [plot] = rng.choices([plot for plot, _ in PLOTS], [weight for _, weight in PLOTS])
    draft = Draft(rng, level, _draw_person(rng, level), past=rng.random() < 0.5)
    try:
        return plot(draft, num_steps)
    except UnfitError:
        return None


def _draw_person(rng: random.Random, level: Level) -> Person:
    kind = rng.random()
    if kind < 0.2:
        return rng.choice(SPEAKERS)
    return rng.choice(ROLES) if kind < 0.32 else draw_name(rng, level.invented_rate)


def generate_questions(
    split: Split,
    count: int,
    *,
    seed: int,
    min_steps: int = 2,
    max_steps: int = 5,
    level: str = "full",
    wrong_rate: float = WRONG_RATE,
) -> list[Question]:
    """Generate `count` distinct questions of one split; the same arguments give the same questions.

    Args:
        split: which split; the hash of a question's text decides where it belongs, so splits never share one.
        count: number of questions.
        seed: seed of the stories.
        min_steps: least number of reasoning steps.
        max_steps: largest number of reasoning steps.
        level: a key of `LEVELS`.
        wrong_rate: share of rationales that err on purpose, in [0, 1].

    Raises:
        DataError: if there are not that many distinct questions.

    Returns:
        Questions with one gold rationale each, ending with "The answer is X.", and its gold keypoints; X is wrong if the rationale is.
    """
    rng = random.Random(derive_seed("embedded", split.value, seed))
    questions: dict[str, Question] = {}
    tries = 0
    while len(questions) < count:
        tries += 1
        if tries > MOST_TRIES:
            raise DataError(
                f"The stories have fewer than {count:,} distinct {split.value} questions of {min_steps} to {max_steps} steps; "
                f"{len(questions):,} were found.",
                hint="Ask for fewer questions, raise dataset.embedded.max_steps, or use level full.",
            )
        story = draw_story(rng, rng.randint(min_steps, max_steps), LEVELS[level])
        if story is None or story.question in questions or split_of(story.question) is not split:
            continue
        rationale, keypoints = write_rationale(rng, story, LEVELS[level], is_wrong=rng.random() < wrong_rate)
        questions[story.question] = Question(
            id=f"embedded-{split.value}-{len(questions):06d}",
            split=split,
            question=story.question,
            answer=format_number(story.steps[-1].result).replace(",", ""),
            answer_kind=AnswerKind.NUMBER,
            gold_rationales=(rationale,),
            gold_keypoints=(keypoints,),
            num_steps=len(story.steps),
        )
        tries = 0
    return list(questions.values())
