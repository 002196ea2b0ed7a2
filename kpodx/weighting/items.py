"""Rationales as the answer predictor reads them: its tokens, its targets, and the way back to the student's tokens."""

from __future__ import annotations

from collections.abc import Sequence

from kpodx.modeling.loading import Tokenizer
from kpodx.modeling.tokenization import encode_continuations, step_token_stops
from kpodx.runtime import derive_seed
from kpodx.schema import Question, Rationale
from kpodx.text.prompts import answer_sentence, student_prompt
from kpodx.text.steps import split_steps
from kpodx.weighting.config import Target, Unit
from kpodx.weighting.predictor import PredictorItem
from kpodx.weighting.targets import (
    Ids,
    answer_targets,
    answer_words,
    next_result_sentences,
    next_step_targets,
)
from kpodx.weighting.units import word_leaders

Spans = tuple[tuple[int, int], ...]


def predictor_items(
    rationales: Sequence[Rationale],
    questions: Sequence[Question],
    student_tokenizer: Tokenizer,
    predictor_tokenizer: Tokenizer,
    *,
    target: Target,
    unit: Unit,
) -> list[PredictorItem]:
    """Return each rationale in the predictor's vocabulary, with the characters that carry a mask over from the student's."""
    by_id = {question.id: question for question in questions}
    texts = [r.text for r in rationales]
    prompts = [student_prompt(by_id[r.question_id]) for r in rationales]
    own_prompts, their_prompts = (
        tokenizer(prompts, add_special_tokens=False).input_ids for tokenizer in (predictor_tokenizer, student_tokenizer)
    )
    own = encode_continuations(predictor_tokenizer, texts)
    theirs = encode_continuations(student_tokenizer, texts)
    aims = _aims(rationales, by_id, own, predictor_tokenizer, target)
    leaders = _leaders(texts, [spans for _, spans in theirs], unit)
    return [
        PredictorItem(
            prompt_ids=tuple(own_prompts[row]),
            rationale_ids=own[row][0],
            stops=aims[row][0],
            targets=aims[row][1],
            student_ids=theirs[row][0],
            spans=own[row][1],
            student_spans=theirs[row][1],
            leaders=leaders[row],
            student_prompt_ids=tuple(their_prompts[row]),
        )
        for row in range(len(rationales))
    ]


def _leaders(texts: Sequence[str], spans: Sequence[Spans], unit: Unit) -> list[tuple[int, ...]]:
    if unit == "token":
        return [tuple(range(len(pieces))) for pieces in spans]
    return [word_leaders(text, pieces) for text, pieces in zip(texts, spans, strict=True)]


def _aims(
    rationales: Sequence[Rationale],
    questions: dict[str, Question],
    encoded: Sequence[tuple[Ids, Spans]],
    tokenizer: Tokenizer,
    target: Target,
) -> list[tuple[Sequence[int], tuple[Ids, ...]]]:
    """Return the stops and the targets of each rationale."""
    stops = [step_token_stops(split_steps(r.text), spans) for r, (_, spans) in zip(rationales, encoded, strict=True)]
    if target == "next-result":
        words = [answer_words(questions[r.question_id], r) for r in rationales]
        spans = [spans for _, spans in encoded]
        return [
            _next_results(rationale.text, ends, places, answer, tokenizer)
            for rationale, ends, places, answer in zip(rationales, stops, spans, words, strict=True)
        ]
    answers = encode_continuations(tokenizer, [answer_sentence(r.answer) for r in rationales])
    if target == "answer":
        return [answer_targets(len(ids), answer) for (ids, _), (answer, _) in zip(encoded, answers, strict=True)]
    return [
        next_step_targets(ids, ends, answer)
        for (ids, _), ends, (answer, _) in zip(encoded, stops, answers, strict=True)
    ]


def _next_results(
    text: str, stops: Sequence[int], spans: Spans, answer: str, tokenizer: Tokenizer
) -> tuple[tuple[int, ...], tuple[Ids, ...]]:
    """Return where a result can be asked for, and its sentence in tokens.

    The text of a step is read off its tokens, so that steps without a token cannot shift one against the other.
    """
    starts = [0, *stops[:-1]]
    steps = [text[spans[a][0] : spans[b - 1][1]] for a, b in zip(starts, stops, strict=True)]
    found = [
        (stop, sentence)
        for stop, sentence in zip(stops, next_result_sentences(steps, answer), strict=True)
        if sentence is not None
    ]
    ids = encode_continuations(tokenizer, [sentence for _, sentence in found])
    return tuple(stop for stop, _ in found), tuple(sentence for sentence, _ in ids)


def hold_out(rationales: Sequence[Rationale], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Return rows to learn from and rows to measure on; all rationales of a question go the same way."""
    held: list[int] = []
    fit: list[int] = []
    for row, rationale in enumerate(rationales):
        (held if derive_seed("heldout", seed, rationale.question_id) % 10_000 < fraction * 10_000 else fit).append(row)
    if not held or not fit:
        # So few questions that the draw took none or all: the first question is measured on, the rest learnt from.
        first = rationales[0].question_id
        held = [row for row, rationale in enumerate(rationales) if rationale.question_id == first]
        fit = [row for row in range(len(rationales)) if row not in held] or held
    return fit, held
