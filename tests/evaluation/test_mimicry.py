"""Keypoint mimicry: by hand, against single tokens, and from artifacts to a finding."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from phase_inputs import Notes, context_for, write_inputs

from kpodx import artifacts
from kpodx.errors import KpodxError
from kpodx.evaluation.config import EvaluationConfig
from kpodx.evaluation.mimicry import (
    KeypointMimicry,
    TokenScore,
    held_out_rationales,
    keypoint_mask,
    right_rationale,
    score_tokens,
)
from kpodx.evaluation.phase import run
from kpodx.evaluation.scoring import measure_mimicry
from kpodx.modeling.config import StudentConfig
from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import Model, load_model, load_tokenizer
from kpodx.modeling.rationale_likelihood import rationale_nll
from kpodx.modeling.tokenization import encode_continuations, input_and_target, tokenize_rationales
from kpodx.runtime import PhaseContext, SilentProgress
from kpodx.schema import Question, Span, Split

RIGHT = "So 3 + 4 = 7. The answer is 7."
MARKS: tuple[Span, ...] = ((7, 8), (9, 10), (11, 12), (29, 30))
"""The 4, the "=" and both 7s of `RIGHT`."""


def question(name: str, *gold: str, marks: tuple[tuple[Span, ...], ...] = ()) -> Question:
    return Question(name, Split.TEST, "Tom has 3 and gets 4.", "7", gold_rationales=gold, gold_keypoints=marks)


QUESTIONS = [
    question("a", RIGHT, marks=(MARKS,)),
    question("b", "Tom has 3 apples and 4 more, so that it is 3 + 4 = 7. The answer is 7.", marks=(((50, 51),),)),
    question("c", "It is 7. The answer is 7.", marks=((),)),
]


def measure(
    folder: Path, questions: list[Question], model: Model | None = None, **changes: Any
) -> KeypointMimicry | None:
    settings = {"max_rationales": 99, "batch_size": 8, "limits": StudentConfig(model="x")} | changes
    return measure_mimicry(
        model or load_model(str(folder)).eval(),
        load_tokenizer(str(folder)),
        questions,
        dtype=torch.float32,
        progress=SilentProgress(),
        **settings,
    )


def test_scores_of_chosen_tokens_by_hand() -> None:
    scores = [np.array(rows, dtype=np.float32) for rows in ([[1, 2, 4], [1, 0, 1]], [[8], [0]])]
    masks = [np.array(mask) for mask in ([True, False, True], [True])]
    # Losses 1, 4 and 8; two of the three tokens are right. Every token counts alike, not every rationale.
    assert score_tokens(scores, masks) == TokenScore(pytest.approx(13 / 3), pytest.approx(2 / 3), 3)
    assert score_tokens(scores, [~mask for mask in masks]) == TokenScore(2.0, 0.0, 1)
    assert score_tokens(scores, [np.zeros_like(mask) for mask in masks]) == TokenScore(None, None, 0)
    assert score_tokens([], []) == TokenScore(None, None, 0)


def test_masks_by_hand() -> None:
    text, spans = "so 3 + 12 eggs.", [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9), (9, 14), (14, 15)]
    assert keypoint_mask(text, spans, None).tolist() == [False, True, True, True, True, False, False]
    assert keypoint_mask(text, spans, [(7, 9)]).tolist() == [False, False, False, True, True, False, False]
    assert not keypoint_mask(text, spans, []).any()


def test_only_right_rationales_count_and_lose_their_answer_sentence() -> None:
    found = right_rationale(question("a", "So 3 + 4 = 8. The answer is 8.", RIGHT, marks=((), MARKS)))
    assert found is not None
    assert (found.text, found.keypoints) == ("So 3 + 4 = 7.", MARKS[:3])
    assert right_rationale(question("a", "So 3 + 4 = 8. The answer is 8.")) is None
    assert right_rationale(question("a", "The answer is 7.")) is None
    assert right_rationale(question("a")) is None
    silent = right_rationale(question("a", "So it is 3 + 4 = 7."))
    assert silent is not None
    assert (silent.text, silent.keypoints) == ("So it is 3 + 4 = 7.", None)


def test_marks_go_before_token_types() -> None:
    bare = [question("x", RIGHT), question("y", RIGHT)]
    source, rationales = held_out_rationales([*bare, *QUESTIONS], 2)
    assert (source, [r.question_id for r in rationales]) == ("gold", ["a", "b"])
    source, rationales = held_out_rationales([question("w"), *bare], 1)
    assert (source, [r.question_id for r in rationales]) == ("token-type", ["x"])
    wrong = question("z", "So 3 + 4 = 8. The answer is 8.", marks=((),))
    assert held_out_rationales([wrong, *bare], 9)[0] == "token-type"
    assert held_out_rationales([wrong], 9) == ("token-type", [])


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama"])
@torch.no_grad()
def test_a_student_without_an_opinion_loses_the_logarithm_of_its_vocabulary(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    model = load_model(str(folder)).eval()
    for parameter in model.parameters():
        parameter.zero_()
    found = measure(folder, QUESTIONS, model)
    assert found is not None
    assert (found.keypoints, found.num_rationales, found.num_too_long) == ("gold", 3, 0)
    for score in (found.on_keypoints, found.on_others):
        assert score.nll == pytest.approx(log(model.config.vocab_size), rel=1e-6)
        # All logits are equal, and the first of them is padding's, which no text holds.
        assert score.accuracy == 0.0
    assert found.on_keypoints.num_tokens == 4


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama"])
@pytest.mark.parametrize("marked", [True, False])
@torch.no_grad()
def test_masks_select_the_tokens_of_keypoints(family: str, marked: bool, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(family)
    questions = QUESTIONS if marked else [replace(one, gold_keypoints=()) for one in QUESTIONS]
    rationales = [found for one in questions if (found := right_rationale(one))]
    model, tokenizer = load_model(str(folder)).eval(), load_tokenizer(str(folder))
    items = tokenize_rationales(tokenizer, rationales, questions)
    layout = model_family(model, tokenizer)
    high, low = [], []
    for item, rationale in zip(items, rationales, strict=True):
        [(_, nll)] = rationale_nll(model, layout, [item], batch_size=1, dtype=torch.float32)
        [(_, spans)] = encode_continuations(tokenizer, [rationale.text])
        wanted = {at for span in rationale.keypoints or () for at in range(*span)}
        if not marked:
            wanted = {at for at, character in enumerate(rationale.text) if character in "0123456789+="}
        for span, loss in zip(spans, nll.tolist(), strict=True):
            (high if wanted & set(range(*span)) else low).append(loss)

    found = measure(folder, questions)
    assert found is not None
    assert found.keypoints == ("gold" if marked else "token-type")
    assert (found.on_keypoints.num_tokens, found.on_others.num_tokens) == (len(high), len(low))
    assert found.on_keypoints.nll == pytest.approx(np.mean(high), abs=1e-5)
    assert found.on_others.nll == pytest.approx(np.mean(low), abs=1e-5)
    assert abs(np.mean(high) - np.mean(low)) > 0.01


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama"])
def test_neither_padding_nor_the_batch_matters(family: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(family)
    one, together = (measure(folder, QUESTIONS, batch_size=size) for size in (1, 3))
    assert one is not None
    assert together is not None
    for name in ("on_keypoints", "on_others"):
        first, second = getattr(one, name), getattr(together, name)
        assert (first.accuracy, first.num_tokens) == (second.accuracy, second.num_tokens)
        assert first.nll == pytest.approx(second.nll, abs=1e-5)


@torch.no_grad()
def test_a_student_that_has_learnt_the_rationales_says_their_keypoints(tiny_llama: Path) -> None:
    model = load_model(str(tiny_llama)).train()
    tokenizer = load_tokenizer(str(tiny_llama))
    before = measure(tiny_llama, QUESTIONS[:1], model.eval())
    rationale = right_rationale(QUESTIONS[0])
    assert rationale is not None
    [item] = tokenize_rationales(tokenizer, [rationale], QUESTIONS)
    ids = torch.tensor([[*item.prompt_ids, *item.rationale_ids]])
    bos = torch.tensor([[tokenizer.bos_token_id]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with torch.enable_grad():
        for _ in range(60):
            whole = torch.cat([bos, ids], dim=1)
            loss = model(input_ids=whole, labels=whole).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    after = measure(tiny_llama, QUESTIONS[:1], model.eval())
    assert before is not None
    assert after is not None
    assert after.on_keypoints.accuracy == after.on_others.accuracy == 1.0
    assert (after.on_keypoints.nll or 0) < 0.2 < (before.on_keypoints.nll or 0)


def test_rationales_without_room_are_counted_not_cut(tiny_t5: Path) -> None:
    rationales = [found for one in QUESTIONS if (found := right_rationale(one))]
    items = tokenize_rationales(load_tokenizer(str(tiny_t5)), rationales, QUESTIONS)
    first, longest, _ = (input_and_target(item, encoder_decoder=True)[1] for item in items)
    assert first < longest
    short = StudentConfig(model="x", max_target_tokens=longest - 1)
    found = measure(tiny_t5, QUESTIONS, limits=short)
    assert found is not None
    assert (found.num_rationales, found.num_too_long) == (2, 1)
    nothing = measure(tiny_t5, QUESTIONS, limits=StudentConfig(model="x", max_target_tokens=8))
    empty = TokenScore(None, None, 0)
    assert nothing == KeypointMimicry("gold", 0, 3, empty, empty)


def test_a_loss_that_is_not_finite_is_an_error(tiny_llama: Path) -> None:
    model = load_model(str(tiny_llama)).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(
        KpodxError, match="not finite on the gold rationales of 3 test questions, the first of them a, b, c"
    ):
        measure(tiny_llama, QUESTIONS, model)


def test_the_largest_number_of_rationales_holds(tiny_t5: Path) -> None:
    found = measure(tiny_t5, QUESTIONS, max_rationales=2)
    assert found is not None
    assert found.num_rationales == 2
    assert measure(tiny_t5, [question("x")]) is None


def phase_context(tmp_path: Path, student: Path, out: str, **changes: Any) -> PhaseContext:
    folder = tmp_path / "in"
    if not folder.exists():
        write_inputs(folder, 2)
        (folder / "distillation").mkdir()
        (folder / "distillation" / artifacts.STUDENT).symlink_to(student)
    settings = {"max_new_tokens": 2, "batch_size": 4} | changes
    return context_for(folder, student, out, evaluation=EvaluationConfig(**settings))


def test_the_phase_measures_test_questions_alone(tmp_path: Path, tiny_t5: Path) -> None:
    context = phase_context(tmp_path, tiny_t5, "out")
    questions = artifacts.load_questions(context.inputs["dataset"])
    assert isinstance(context.progress, Notes)
    marked = [replace(one, gold_keypoints=(((0, 4),),)) if one.gold_rationales else one for one in questions]
    artifacts.save_questions(context.inputs["dataset"], marked)
    test = [one for one in marked if one.split is Split.TEST and right_rationale(one)]
    found = run(context)["keypoint_mimicry"]
    assert test
    assert found == asdict(measure(tiny_t5, test))  # type: ignore[arg-type]
    assert isinstance(found, dict)
    assert (found["keypoints"], found["num_rationales"]) == ("gold", len(test))

    assert run(phase_context(tmp_path, tiny_t5, "off", max_keypoint_rationales=0))["keypoint_mimicry"] is None
    bare = [replace(one, gold_rationales=(), gold_keypoints=()) if one.split is Split.TEST else one for one in marked]
    artifacts.save_questions(context.inputs["dataset"], bare)
    assert run(context)["keypoint_mimicry"] is None
    assert any("no keypoint mimicry" in line for line in context.progress.lines)


def test_the_phase_reports_rationales_without_room(tmp_path: Path, tiny_t5: Path) -> None:
    context = phase_context(tmp_path, tiny_t5, "short")
    context.recipe.student = StudentConfig(model=str(tiny_t5), max_target_tokens=8)
    found = run(context)["keypoint_mimicry"]
    assert isinstance(found, dict)
    assert found["num_rationales"] == 0
    assert found["on_keypoints"] == {"nll": None, "accuracy": None, "num_tokens": 0}
    assert isinstance(context.progress, Notes)
    assert any("longer than the student's limits" in line for line in context.progress.lines)
