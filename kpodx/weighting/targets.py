"""What the answer predictor is asked for behind each prefix of a masked rationale.

Equation 5 asks for the final answer behind every token prefix. A small predictor cannot reason from an early prefix to the
answer, so most of that loss does not depend on the mask. The other two targets ask for what comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kpodx.schema import Question, Rationale
from kpodx.text.choices import letter_of
from kpodx.text.number_answers import concluding_number
from kpodx.text.numbers import format_number

Ids = tuple[int, ...]


def answer_targets(num_tokens: int, answer_ids: Ids) -> tuple[range, tuple[Ids, ...]]:
    """Return the paper's target: the answer behind every prefix of 1 to `num_tokens` tokens (equation 5).

    >>> answer_targets(3, (7, 8))
    (range(1, 4), ((7, 8), (7, 8), (7, 8)))
    """
    return range(1, num_tokens + 1), (answer_ids,) * num_tokens


def next_step_targets(
    rationale_ids: Ids, step_stops: Sequence[int], answer_ids: Ids
) -> tuple[tuple[int, ...], tuple[Ids, ...]]:
    """Return the end of each step as a prefix, and the tokens of the step after it; the answer follows the last step.

    Args:
        rationale_ids: R tokens.
        step_stops: where each step ends, rising, the last one R.
        answer_ids: the answer sentence.

    >>> next_step_targets((1, 2, 3, 4, 5), (2, 4, 5), (9,))
    ((2, 4, 5), ((3, 4), (5,), (9,)))
    """
    steps = [rationale_ids[start:stop] for start, stop in pairwise(step_stops)]
    return tuple(step_stops), (*steps, answer_ids)


def next_result_sentences(steps: Sequence[str], answer: str) -> list[str | None]:
    """Return behind each step the sentence that states the result of the next step; the answer follows the last step.

    The result of a step is its last number. None stands behind a step if the next one has no number.

    >>> next_result_sentences(["Tom has 3. ", "Hm. ", "3 + 4 = 7."], "7")
    [None, 'The next result is 7.', 'The next result is 7.']
    """
    results = [_result_of(step) for step in steps[1:]]
    return [None if result is None else f"The next result is {result}." for result in [*results, answer]]


def _result_of(step: str) -> str | None:
    """Return the number that a step ends up with, None if it has none."""
    value = concluding_number([step]).value
    return None if value is None else format_number(value)


def answer_words(question: Question, rationale: Rationale) -> str:
    """Return the answer in words that a rationale can hold: the option's text for a choice, else the answer itself."""
    options = {letter_of(number): text for number, text in enumerate(question.choices)}
    return options.get(rationale.answer, rationale.answer)
