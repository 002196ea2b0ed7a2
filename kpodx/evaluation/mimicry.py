"""Keypoint mimicry: how well a student says the keypoints of held-out rationales, and all their other tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from kpodx.modeling.token_spans import overlapping
from kpodx.schema import Question, Rationale, Span
from kpodx.text.answers import answers_equal, extract_answer
from kpodx.text.completions import clean_completion, remove_calculator_marks
from kpodx.text.keypoints import gold_keypoints
from kpodx.text.reasoning import take_apart
from kpodx.text.token_types import KEYPOINT_TYPES, token_type

KeypointSource = Literal["gold", "token-type"]
"""How keypoints are known: marked in the question set, or digits and operators by the type of a token."""

Scores = npt.NDArray[np.float32]
"""The loss of each token of a rationale in nats, and below it 1 if the student's likeliest token is right, else 0; [2, R]."""


@dataclass(frozen=True)
class TokenScore:
    """What a student makes of some tokens, each predicted behind the true ones before it.

    `nll` is the mean loss in nats per token, `accuracy` the share of tokens that are the student's likeliest; None without tokens.
    """

    nll: float | None
    accuracy: float | None
    num_tokens: int


@dataclass(frozen=True)
class KeypointMimicry:
    """Scores on keypoints and on all other tokens of held-out rationales.

    Attributes:
        keypoints: how keypoints are known.
        num_rationales: rationales that were scored.
        num_too_long: rationales that the student's limits leave no room for; they are not scored.
        on_keypoints: scores of tokens that belong to a keypoint.
        on_others: scores of all other tokens.
    """

    keypoints: KeypointSource
    num_rationales: int
    num_too_long: int
    on_keypoints: TokenScore
    on_others: TokenScore


def held_out_rationales(questions: Sequence[Question], limit: int) -> tuple[KeypointSource, list[Rationale]]:
    """Return the right gold rationales of the first `limit` questions that have one, and how their keypoints are known.

    If some carry marks of their keypoints, only those count; otherwise all do.
    """
    # Lazily: reading mathematics takes its time, and a set may hold thousands of questions.
    with_marks = map(right_rationale, (question for question in questions if question.gold_keypoints))
    marked = list(islice((found for found in with_marks if found and found.keypoints is not None), limit))
    if marked:
        return "gold", marked
    return "token-type", list(islice(filter(None, map(right_rationale, questions)), limit))


def right_rationale(question: Question) -> Rationale | None:
    """Return the first gold rationale that reaches the reference answer, or None if no rationale does.

    The text is without its answer sentence. A rationale that gives no answer of its own is taken to be right.
    """
    for gold in question.gold_rationales:
        cleaned = remove_calculator_marks(clean_completion(gold, question.question))
        parts = take_apart(cleaned)
        if parts.reasoning and (not parts.announcement or _is_right(cleaned, question)):
            keypoints = gold_keypoints(question, parts.reasoning)
            return Rationale(f"{question.id}/gold", question.id, parts.reasoning, question.answer, "gold", keypoints)
    return None


def _is_right(text: str, question: Question) -> bool:
    answer = extract_answer(text, question.answer_kind, question.choices, question.question)
    return answers_equal(answer, question.answer, question.answer_kind)


def keypoint_mask(text: str, spans: Sequence[Span], keypoints: Sequence[Span] | None) -> npt.NDArray[np.bool_]:
    """Return which tokens belong to a keypoint, bool [R].

    Args:
        text: the rationale.
        spans: characters of each token.
        keypoints: characters of marked keypoints; None takes digits and operators.

    >>> keypoint_mask("so 3 + 4", [(0, 2), (2, 4), (4, 6), (6, 8)], None).tolist()
    [False, True, True, True]
    """
    if keypoints is None:
        return np.array([token_type(text[start:stop]) in KEYPOINT_TYPES for start, stop in spans], dtype=bool)
    return np.array(overlapping(spans, keypoints), dtype=bool)


def score_tokens(scores: Sequence[Scores], masks: Sequence[npt.NDArray[np.bool_]]) -> TokenScore:
    """Return the mean scores of the tokens that masks select; every token of every rationale counts alike."""
    chosen = [values[:, mask] for values, mask in zip(scores, masks, strict=True)]
    count = sum(values.shape[1] for values in chosen)
    if not count:
        return TokenScore(None, None, 0)
    nll, accuracy = np.concatenate(chosen, axis=1).mean(axis=1, dtype=np.float64).tolist()
    return TokenScore(nll, accuracy, count)
