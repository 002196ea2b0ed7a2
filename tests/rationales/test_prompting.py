"""What a teacher is asked, word by word: a changed word is a new version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kpodx.config import build_config
from kpodx.errors import ConfigError, DataError
from kpodx.rationales.config import PromptConfig, RationalesConfig, SamplingConfig
from kpodx.rationales.prompting import (
    Example,
    Template,
    answer_request,
    join_messages,
    load_examples,
    needs_answer,
    rationale_requests,
)
from kpodx.rationales.requests import Message, judge_text
from kpodx.schema import AnswerKind, Question, Split

EGGS = Question("q1", Split.TRAIN, "How many eggs?", "18")
PLACE = Question("c1", Split.TRAIN, "Where?", "B", AnswerKind.CHOICE, ("sea", "zoo"))


def test_zero_shot_cot_is_the_papers() -> None:
    assert Template(PromptConfig()).messages(EGGS) == (
        Message("user", "Q: How many eggs?\nA: Let's think step by step."),
    )


def test_choices_and_a_system_message() -> None:
    system, user = Template(PromptConfig(system="Be brief.")).messages(PLACE)
    assert (system.role, system.content) == ("system", "Be brief.")
    assert user.content == "Q: Where? Answer choices: (A) sea (B) zoo\nA: Let's think step by step."


def test_few_shot_cot_shows_its_examples_first() -> None:
    template = Template(PromptConfig(template="few-shot-cot", examples="e"), (Example("1 + 1?", "1 + 1 = 2.", "2"),))
    (message,) = template.messages(EGGS)
    assert message.content == "Q: 1 + 1?\nA: 1 + 1 = 2. Therefore, the answer is 2.\n\nQ: How many eggs?\nA:"


def test_instruction() -> None:
    (message,) = Template(PromptConfig(template="instruction", instruction="Reason.")).messages(EGGS)
    assert message.content == "How many eggs?\n\nReason."


def test_the_hash_covers_every_word() -> None:
    base = Template(PromptConfig())
    assert base.digest() == Template(PromptConfig()).digest()
    example = Example("a", "b", "c")
    others = [
        Template(PromptConfig(cue="Well.")),
        Template(PromptConfig(system="s")),
        Template(PromptConfig(template="instruction")),
        Template(PromptConfig(template="few-shot-cot", examples="e"), (example,)),
        Template(PromptConfig(answer_extraction="never")),
    ]
    assert len({base.digest(), *(other.digest() for other in others)}) == 6
    moved = Template(PromptConfig(template="few-shot-cot", examples="elsewhere"), (example,))
    assert moved.digest() == others[3].digest(), "where the file lies does not count"


def test_examples_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps({"question": "a", "rationale": "b", "answer": "c"}) + "\n\n")
    assert load_examples(path) == (Example("a", "b", "c"),)
    path.write_text('{"question": "a", "answer": "c"}\n')
    with pytest.raises(DataError, match=r"e\.jsonl, line 1: expected the texts question, rationale and answer"):
        load_examples(path)
    path.write_text("")
    with pytest.raises(DataError, match="holds no examples"):
        load_examples(path)
    with pytest.raises(DataError, match="No file"):
        load_examples(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="examples is needed by the template 'few-shot-cot'"):
        build_config(PromptConfig, {"template": "few-shot-cot"})


def test_samples_differ_in_number_and_seed_only() -> None:
    sampling = SamplingConfig(num_samples=3, temperature=0.5, seed=7)
    requests = rationale_requests([EGGS, PLACE], Template(PromptConfig()), sampling, "m", {})
    assert [(r.question_id, r.sample, r.parameters["seed"]) for r in requests[:4]] == [
        ("q1", 0, 7),
        ("q1", 1, 8),
        ("q1", 2, 9),
        ("c1", 0, 7),
    ]
    assert len({r.key for r in requests}) == 6


def test_samples_without_temperature_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="num_samples 2 with temperature 0 gives the same text each time"):
        build_config(SamplingConfig, {"num_samples": 2})
    with pytest.raises(ConfigError, match="filter 'agreement' compares samples"):
        build_config(RationalesConfig, {"teacher": "openai", "openai": {"model": "m"}, "filter": "agreement"})


@pytest.mark.parametrize(
    ("kind", "cue"),
    [
        (AnswerKind.NUMBER, "Therefore, the answer (arabic numerals) is"),
        (AnswerKind.CHOICE, "Therefore, among the answer choices, the answer is"),
        (AnswerKind.YES_NO, "Therefore, the answer (Yes or No) is"),
        (AnswerKind.MATH, "Therefore, the answer (in LaTeX) is"),
    ],
)
def test_the_second_question_is_kojimas(kind: AnswerKind, cue: str) -> None:
    sampling = SamplingConfig(temperature=0.7, num_samples=2, answer_max_tokens=9)
    first, twin = rationale_requests([EGGS], Template(PromptConfig()), sampling, "m", {})
    asked = answer_request(first, "9 + 9 = 18.\n\nQ: More?", kind, sampling, {})
    assert [message.content for message in asked.messages[1:]] == ["9 + 9 = 18.", cue]
    assert (asked.max_tokens, asked.parameters["temperature"]) == (9, 0.0)
    assert join_messages(asked).endswith(f"step by step.\n9 + 9 = 18.\n{cue}")
    assert answer_request(twin, "9 + 9 = 18.", kind, sampling, {}).key == asked.key


def test_when_the_answer_is_asked_for() -> None:
    said, silent = "1 + 1 = 2. The answer is 2.", "1 + 1 = 2."
    assert needs_answer("1 + 1 = 2. Therefore, the answer is", "when-missing"), "a cut announcement gives no answer"
    assert not needs_answer("1 + 1 = 2. Die Antwort lautet 2.", "when-missing")
    assert [needs_answer(text, "always") for text in (said, silent)] == [True, True]
    assert [needs_answer(text, "when-missing") for text in (said, silent)] == [False, True]
    assert [needs_answer(text, "never") for text in (said, silent)] == [False, False]


@pytest.mark.parametrize(
    ("text", "finish", "refusal", "reason"),
    [
        ("2 + 3 = 5.", "stop", None, None),
        ("2 + 3 = 5.", None, None, None),
        ("2 + 3", "length", None, "length"),
        ("x", "content_filter", None, "content_filter"),
        ("x", "stop", "no", "refusal"),
        (" \n", "stop", None, "no_text"),
        ("I'm sorry, but I can't help with that.", "stop", None, "refusal"),
        ("I cannot assist with this request.", "stop", None, "refusal"),
        ("I’m sorry, but I can’t assist with that.", "stop", None, "refusal"),
        ("I'm sorry, I can't assist with that request.", "stop", None, "refusal"),
        ("Sorry, I cannot help with this.", "stop", None, "refusal"),
        ("I can't help but notice that 3 + 4 = 7. The answer is 7.", "stop", None, None),
        ("2 + 3 =", "abort", None, "broken_off"),
        ("2 + 3 =", "error", None, "broken_off"),
        ("2 + 3 =", "model_length", None, "length"),
        ("2 + 3 = 5.", "eos", None, None),
        ("As an AI model, I am not able to answer that.", "stop", None, "refusal"),
        ("Tom says: I cannot help you. He has 3 eggs.", "stop", None, None),
        ("I can help. " + "x" * 500, "stop", None, None),
    ],
)
def test_what_is_no_answer(text: str, finish: str | None, refusal: str | None, reason: str | None) -> None:
    assert judge_text(text, finish, refusal) == reason


def test_examples_may_come_from_any_editor(tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"question": "Q?", "rationale": "r", "answer": "a"}\r\n')
    assert load_examples(path) == (Example("Q?", "r", "a"),)
    path.write_text(r'{"question": "Q\ud83d", "rationale": "r", "answer": "a"}')
    with pytest.raises(DataError, match="line 1: a text holds half of a surrogate pair"):
        load_examples(path)
