"""Greedy answers do not depend on their neighbours in the batch."""

from __future__ import annotations

import pytest
import torch
from tiny_models import make_tiny_llama, make_tiny_t5

from kpodx.modeling.generation import answer_questions, generate_texts, judge
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.schema import AnswerKind, Question, Split

PROMPTS = [
    "Q: How many apples does Tom have now? A: Let's think step by step.",
    "Q: x",
    "Q: Anna has 12 books and gives 5 to a friend. How many books does Anna have now? A: Let's think step by step.",
    "Q: Ben has 3 eggs. A:",
]


@pytest.fixture(scope="module", params=[make_tiny_t5, make_tiny_llama], ids=["t5", "llama"])
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = str(request.param(tmp_path_factory.mktemp("student"), layers=2, seed=3))
    return load_model(folder), load_tokenizer(folder)


def texts(student: tuple, prompts: list[str], batch_size: int) -> list[str]:
    return generate_texts(*student, prompts, max_new_tokens=8, batch_size=batch_size)


@torch.no_grad()
def by_hand(student: tuple, prompt: str) -> str:
    model, tokenizer = student
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    said: list[int] = []
    while len(said) < 8 and 1 not in said:
        if model.config.is_encoder_decoder:
            logits = model(input_ids=torch.tensor([[*ids, 1]]), decoder_input_ids=torch.tensor([[0, *said]])).logits
        else:
            logits = model(input_ids=torch.tensor([[2, *ids, *said]])).logits
        said.append(int(logits[0, -1].argmax()))
    return tokenizer.decode(said, skip_special_tokens=True).strip()


def test_answers_are_the_greedy_ones_at_any_batch_size_in_any_order(student: tuple) -> None:
    expected = [by_hand(student, prompt) for prompt in PROMPTS]
    assert len(set(expected)) > 1
    for batch_size in (1, 2, 4, 9):
        assert texts(student, PROMPTS, batch_size) == expected
    assert texts(student, PROMPTS[::-1], 3) == expected[::-1]


def test_no_prompts_no_answers(student: tuple) -> None:
    assert texts(student, [], 4) == []


def test_settings_that_came_with_the_model_are_not_used(student: tuple) -> None:
    model, expected = student[0], texts(student, PROMPTS, 4)
    before = model.generation_config.repetition_penalty
    model.generation_config.repetition_penalty = 9.0
    found = texts(student, PROMPTS, 4)
    model.generation_config.repetition_penalty = before
    assert found == expected


def test_the_mode_of_the_model_is_given_back(student: tuple) -> None:
    for training in (True, False):
        student[0].train(training)
        texts(student, PROMPTS[:1], 1)
        assert student[0].training is training


def test_answers_are_read_and_judged() -> None:
    questions = [
        Question("a", Split.TEST, "?", "1200", num_steps=3),
        Question("b", Split.TEST, "?", "B", AnswerKind.CHOICE, ("bank", "mall")),
        Question("c", Split.TEST, "?", "5"),
    ]
    outputs = ["So 1,200. Therefore, the answer is $1,200.", "Therefore, the answer is A.", "nothing"]
    found = list(judge(questions, outputs))
    assert [(p.question_id, p.predicted, p.correct, p.num_steps) for p in found] == [
        ("a", "1200", True, 3),
        ("b", "A", False, None),
        ("c", None, False, None),
    ]
    with pytest.raises(ValueError):
        list(judge(questions, outputs[:2]))


def test_questions_are_asked_with_the_students_prompt(student: tuple) -> None:
    question = Question("a", Split.TEST, "How many apples does Tom have now?", "5")
    [found] = answer_questions(*student, [question], max_new_tokens=8, batch_size=1)
    assert found.output == by_hand(student, PROMPTS[0])
