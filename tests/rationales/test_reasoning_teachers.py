"""Reasoning teachers: every shape gives the rationales of a plain teacher, and the choice of the part asks for nothing again."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kpodx.artifacts import load_rationales, read_json, read_jsonl, save_questions
from kpodx.config import build_config
from kpodx.errors import ConfigError, DataError
from kpodx.fingerprints import ContentHashes, Revisions, fingerprint
from kpodx.rationales import asking
from kpodx.rationales.asking import estimate_cost, export_completions, extra_parameters
from kpodx.rationales.cache import AnswerCache
from kpodx.rationales.config import RationalesConfig
from kpodx.rationales.phase import run
from kpodx.rationales.recorded import REPLY_KEY
from kpodx.rationales.requests import Completion, Request, Usage
from kpodx.rationales.teachers import Outlet
from kpodx.runtime import PhaseContext, Progress
from kpodx.schema import Question, Split
from kpodx.text.thoughts import separate_thoughts

FINAL = "<|start|>assistant<|channel|>final<|message|>"


@dataclasses.dataclass(frozen=True)
class Sum:
    """A question "What is 3 plus 4?" and what a teacher may say of it."""

    one: int
    other: int

    @property
    def question(self) -> Question:
        name = f"q{self.one}-{self.other}"
        return Question(name, Split.TRAIN, f"What is {self.one} plus {self.other}?", str(self.one + self.other))

    @property
    def explanation(self) -> str:
        return f"{self.one} and {self.other} are added: {self.one} + {self.other} = {self.one + self.other}."

    @property
    def plain(self) -> str:
        return f"{self.explanation} Therefore, the answer is {self.one + self.other}."

    @property
    def thought(self) -> str:
        """A thought with a wrong guess, and with a line that looks like a new question."""
        return (
            f"Okay, a sum. Maybe the answer is {self.one * self.other + 1}? Hmm, no.\n"
            f"Question: is it {self.one} first? Yes, {self.one} + {self.other} = {self.one + self.other}.\n"
            f"Final answer: {self.one + self.other}."
        )


SUMS = tuple(Sum(one, other) for one, other in ((3, 4), (5, 6), (7, 9), (12, 13)))
Shape = Callable[[Sum], tuple[str, str]]
"""(text, thought in its own field) of a teacher."""

SHAPES: dict[str, Shape] = {
    "plain": lambda s: (s.plain, ""),
    "think": lambda s: (f"<think>\n{s.thought}\n</think>\n\n{s.plain}", ""),
    "think-closing": lambda s: (f"{s.thought}\n</think>\n\n{s.plain}", ""),
    "think-empty": lambda s: (f"<think>\n\n</think>\n\n{s.plain}", ""),
    "thinking": lambda s: (f"<thinking>{s.thought}</thinking>\n{s.plain}", ""),
    "harmony": lambda s: (f"<|channel|>analysis<|message|>{s.thought}<|end|>{FINAL}{s.plain}", ""),
    "reasoning-field": lambda s: (s.plain, s.thought),
    "field-and-tags": lambda s: (f"<think>{s.thought}</think>{s.plain}", s.thought),
    "Magistral": lambda s: (f"[THINK]{s.thought}[/THINK]{s.plain}", ""),
    "explanation-in-tags": lambda s: (f"<think>{s.thought}</think>\n<answer>\n{s.plain}\n</answer>", ""),
}


class ScriptedTeacher:
    """Answers every question in one shape; keeps what it was asked."""

    model = label = "scripted"

    def __init__(self, shape: Shape, second: str = " {answer}.") -> None:
        self.shape, self.second = shape, second
        self.asked: list[Request] = []

    def ask(self, requests: Sequence[Request], outlet: Outlet, progress: Progress, description: str) -> None:
        del progress, description
        for request in requests:
            self.asked.append(request)
            total = next(s for s in SUMS if s.question.question == request.question)
            text, thought = self.shape(total)
            if "Therefore, the answer" in request.messages[-1].content:
                text, thought = self.second.format(answer=total.one + total.other), ""
            outlet.deliver(Completion(request, text, Usage(9, 9), "2026-01-01", "here", 0.1, thought=thought))


@pytest.fixture
def distill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the phase with a scripted teacher: (report, folder, teacher)."""

    def one(shape: Shape, name: str = "out", second: str = " {answer}.", **settings: Any) -> Any:
        teacher = ScriptedTeacher(shape, second)
        monkeypatch.setattr(asking, "build_teacher", lambda _context, _spending: teacher)
        save_questions(tmp_path / "dataset", [s.question for s in SUMS])
        (tmp_path / name).mkdir(exist_ok=True)
        settings = {"teacher": "openai", "openai": {"model": "m"}, "cache": str(tmp_path / "cache.sqlite")} | settings
        recipe = SimpleNamespace(rationales=build_config(RationalesConfig, settings))
        context = PhaseContext(recipe, {"dataset": tmp_path / "dataset"}, tmp_path / name, seed=0)
        return run(context), tmp_path / name, teacher

    return one


def texts(folder: Path) -> list[str]:
    return [rationale.text for rationale in load_rationales(folder)]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_the_rationales_of_a_plain_teacher(shape: Shape, distill: Any) -> None:
    report, folder, teacher = distill(shape)
    assert texts(folder) == [s.explanation for s in SUMS]
    assert report["answer_agreement"] == 1
    assert len(teacher.asked) == len(SUMS), "nothing was asked twice"


def test_an_answer_alone_in_tags_is_an_answer_without_a_rationale(distill: Any) -> None:
    def shape(s: Sum) -> tuple[str, str]:
        return f"<thinking>{s.thought}</thinking>\n<answer>{s.one + s.other}</answer>", ""

    with pytest.raises(DataError, match="4 empty") as caught:
        distill(shape)
    assert "rationales.thoughts=only" in str(caught.value.hint)
    report, folder, _ = distill(shape, thoughts="only")
    assert report["kept"] == len(SUMS)
    assert all(text.startswith("Okay, a sum.") for text in texts(folder))


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("plain", "think-empty")])
def test_only_makes_the_thought_the_rationale(name: str, distill: Any) -> None:
    _, folder, _ = distill(SHAPES[name], thoughts="only")
    for text, s in zip(texts(folder), SUMS, strict=True):
        assert text.startswith("Okay, a sum.")
        assert text.endswith(f"= {s.one + s.other}."), "whole, and its announcement of the answer is gone"
        assert "added" not in text


def test_keep_has_both_in_order(distill: Any) -> None:
    report, folder, _ = distill(SHAPES["think"], thoughts="keep")
    for text, s in zip(texts(folder), SUMS, strict=True):
        assert text.startswith("Okay, a sum.")
        assert text.endswith("\n" + s.explanation)
        assert "think>" not in text
    assert report["thoughts"]["dropped_characters"] == 0


@pytest.mark.parametrize("thoughts", ["drop", "keep", "only"])
def test_a_guess_in_a_thought_never_counts(thoughts: str, distill: Any) -> None:
    """The thought is right, what follows it is wrong: the answer is wrong."""

    def shape(s: Sum) -> tuple[str, str]:
        return f"<think>{s.thought}</think>It is more. Therefore, the answer is {s.one + s.other + 1}.", ""

    with pytest.raises(DataError, match="4 wrong_answer"):
        distill(shape, thoughts=thoughts)


def test_without_an_explanation_the_thought_itself_gives_the_answer(distill: Any) -> None:
    def shape(s: Sum) -> tuple[str, str]:
        return f"<think>{s.thought}</think>", ""

    report, folder, teacher = distill(shape, thoughts="only")
    assert report["kept"] == len(SUMS)
    assert not any("Final answer" in text for text in texts(folder))
    assert len(teacher.asked) == len(SUMS), "without an explanation the second question is not asked"
    with pytest.raises(DataError, match="4 empty"):
        distill(shape, "again")


def test_no_thought_is_its_own_reason(distill: Any) -> None:
    with pytest.raises(DataError, match="4 no_thought") as caught:
        distill(SHAPES["think-empty"], thoughts="only")
    assert "rationales.thoughts=drop" in str(caught.value.hint)


@pytest.mark.parametrize("thoughts", ["drop", "keep", "only"])
def test_an_unclosed_thought_is_a_rejection(thoughts: str, distill: Any) -> None:
    def shape(s: Sum) -> tuple[str, str]:
        return (s.plain if s.one == 3 and thoughts != "only" else f"<think>{s.thought}", "")

    if thoughts == "only":
        with pytest.raises(DataError, match="4 length"):
            distill(shape, thoughts=thoughts)
        return
    report, folder, _ = distill(shape, thoughts=thoughts)
    assert report["rejected"] == {"length": 3}
    assert report["thoughts"]["unclosed"] == 3
    rejected = read_jsonl(folder / "rejected.jsonl")
    assert all(row["excerpt"].startswith("Okay") for row in rejected)


def test_a_refusal_behind_a_thought_is_a_refusal(distill: Any) -> None:
    def shape(s: Sum) -> tuple[str, str]:
        return (s.plain if s.one == 3 else f"<think>{s.thought}</think>I'm sorry, but I can't help with that.", "")

    report, _, _ = distill(shape, prompt={"answer_extraction": "never"})
    assert report["rejected"] == {"refusal": 3}


def test_another_choice_asks_for_nothing_again(distill: Any) -> None:
    for thoughts in ("drop", "only", "keep", "drop"):
        report, _, teacher = distill(SHAPES["think"], thoughts, thoughts=thoughts)
        assert len(teacher.asked) == (len(SUMS) if report["asked"]["sent"] else 0)
        assert report["asked"]["cached"] == (0 if teacher.asked else len(SUMS))
        assert report["thoughts"]["choice"] == thoughts
    assert not teacher.asked


def test_report_and_provenance_say_how_much_was_dropped(distill: Any) -> None:
    report, folder, _ = distill(SHAPES["think"])
    lengths = [len(s.thought) for s in SUMS]
    assert report["thoughts"] == {
        "choice": "drop",
        "completions": 4,
        "unclosed": 0,
        "characters": sum(lengths),
        "dropped_characters": sum(lengths),
    }
    rows = read_jsonl(folder / "provenance.jsonl")
    assert [row["dropped_characters"] for row in rows] == lengths
    assert read_json(folder / "source.json")["thoughts"] == "drop"
    report, folder, _ = distill(SHAPES["think"], "only", thoughts="only")
    rows = read_jsonl(folder / "provenance.jsonl")
    assert [row["dropped_characters"] for row in rows] == [len(s.plain) for s in SUMS]
    assert [row["thought_characters"] for row in rows] == lengths


def test_a_plain_teacher_says_nothing_of_thoughts(distill: Any) -> None:
    report, folder, _ = distill(SHAPES["plain"])
    assert "thoughts" not in report
    assert "thoughts" not in read_json(folder / "source.json")


@pytest.mark.parametrize(
    "second", [" {answer}.", "<think>\nHm, 99?\n</think>\n\n{answer}", "<answer>{answer}</answer>"]
)
def test_the_second_question_holds_no_thought(second: str, distill: Any, tmp_path: Path) -> None:
    def shape(s: Sum) -> tuple[str, str]:
        return f"<think>\n{s.thought}\n</think>\n\n{s.explanation}", ""

    report, folder, teacher = distill(shape, second=second)
    assert texts(folder) == [s.explanation for s in SUMS]
    assert report["kept"] == len(SUMS)
    seconds = teacher.asked[len(SUMS) :]
    assert [request.messages[-2].content for request in seconds] == [s.explanation for s in SUMS]
    with AnswerCache(tmp_path / "cache.sqlite") as cache:
        exported = list(export_completions(cache, None, None))
    assert len(exported) == len(SUMS)
    assert sorted(record[REPLY_KEY] for record in exported) == sorted(
        separate_thoughts(second.format(answer=s.question.answer)).explanation for s in SUMS
    )


def test_a_cut_reply_to_the_second_question_is_a_rejection(distill: Any) -> None:
    with pytest.raises(DataError, match="4 length"):
        distill(lambda s: (s.explanation, ""), second="<think>Hm, 99?")


def test_the_estimate_knows_second_questions_by_the_explanation(distill: Any, tmp_path: Path) -> None:
    def shape(s: Sum) -> tuple[str, str]:
        return f"<think>{s.thought}</think>{s.explanation}", ""

    distill(shape)
    settings = {"teacher": "openai", "openai": {"model": "scripted"}, "cache": str(tmp_path / "cache.sqlite")}
    config = build_config(RationalesConfig, settings)
    found = estimate_cost([s.question for s in SUMS], config, {})
    assert found is not None
    assert found.requests == 0, "everything is kept, second questions too"


RECORDS: dict[str, Callable[[Sum], dict[str, object]]] = {
    "tags": lambda s: {"completion": f"<think>{s.thought}</think>{s.plain}"},
    "reasoning_content": lambda s: {"completion": s.plain, "reasoning_content": s.thought},
    "reasoning": lambda s: {"completion": s.plain, "reasoning": s.thought},
    "thought": lambda s: {"completion": s.plain, "thought": s.thought},
    "lists": lambda s: {"completion": [s.plain], "reasoning_content": [s.thought]},
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize("thoughts", ["drop", "only"])
def test_recorded_thoughts(record: Callable[[Sum], dict[str, object]], thoughts: str, tmp_path: Path) -> None:
    from kpodx.artifacts import write_jsonl

    write_jsonl(tmp_path / "r.jsonl", [{"id": s.question.id, **record(s)} for s in SUMS])
    save_questions(tmp_path / "dataset", [s.question for s in SUMS])
    (tmp_path / "out").mkdir()
    settings = {"teacher": "recorded", "files": str(tmp_path / "r.jsonl"), "thoughts": thoughts}
    recipe = SimpleNamespace(rationales=build_config(RationalesConfig, settings))
    report: Any = run(PhaseContext(recipe, {"dataset": tmp_path / "dataset"}, tmp_path / "out", seed=0))
    assert report["thoughts"]["completions"] == len(SUMS)
    for text, s in zip(texts(tmp_path / "out"), SUMS, strict=True):
        assert (text == s.explanation) if thoughts == "drop" else text.startswith("Okay, a sum.")


def test_the_completion_key_may_be_called_reasoning(tmp_path: Path) -> None:
    from kpodx.rationales.recorded import RecordKeys, load_recorded

    path = tmp_path / "r.jsonl"
    path.write_text('{"id": "a", "reasoning": "1 + 1 = 2.", "thought": 7}\n')
    (record,) = load_recorded(path, RecordKeys(completion="reasoning"))
    assert (record.completion, record.thought) == ("1 + 1 = 2.", "")


def test_thoughts_in_a_column_of_the_questions(tmp_path: Path) -> None:
    questions = [
        dataclasses.replace(s.question, gold_rationales=(f"<think>{s.thought}</think>{s.plain}",)) for s in SUMS
    ]
    save_questions(tmp_path / "dataset", questions)
    (tmp_path / "out").mkdir()
    recipe = SimpleNamespace(rationales=build_config(RationalesConfig, {}))
    run(PhaseContext(recipe, {"dataset": tmp_path / "dataset"}, tmp_path / "out", seed=0))
    assert texts(tmp_path / "out") == [s.explanation for s in SUMS]


def test_limits_in_steps_and_tokens(tmp_path: Path, tiny_llama: Path) -> None:
    from kpodx.artifacts import write_jsonl

    long = "We add. " * 9
    rows = [{"id": s.question.id, "completion": (long if s.one > 5 else "") + s.plain} for s in SUMS]
    write_jsonl(tmp_path / "r.jsonl", rows)
    save_questions(tmp_path / "dataset", [s.question for s in SUMS])
    (tmp_path / "out").mkdir()

    def report(**limits: int) -> Any:
        settings = {"teacher": "recorded", "files": str(tmp_path / "r.jsonl"), **limits}
        student = SimpleNamespace(model=str(tiny_llama))
        recipe = SimpleNamespace(rationales=build_config(RationalesConfig, settings), student=student)
        return run(PhaseContext(recipe, {"dataset": tmp_path / "dataset"}, tmp_path / "out", seed=0))["rejected"]

    assert report() == {}
    assert report(max_steps=1) == {"too_many_steps": 2}
    assert report(max_steps=10) == {}
    from kpodx.modeling.loading import load_tokenizer
    from kpodx.modeling.token_spans import encode_texts

    [(ids, _)] = encode_texts(load_tokenizer(str(tiny_llama)).backend_tokenizer, [SUMS[1].explanation])
    assert report(max_tokens=len(ids)) == {"too_many_tokens": 2}
    assert report(max_tokens=len(ids) - 1) == {"too_many_tokens": 3}


def test_without_a_limit_in_tokens_no_tokenizer_is_read(distill: Any) -> None:
    """The recipe of these tests has no student at all."""
    report, _, _ = distill(SHAPES["plain"], max_steps=5)
    assert report["kept"] == len(SUMS)


def digest(tmp_path: Path, student: dict[str, Any], **rationales: Any) -> str:
    from kpodx.modeling.config import StudentConfig

    recipe = SimpleNamespace(
        rationales=build_config(RationalesConfig, rationales), student=build_config(StudentConfig, student)
    )
    revisions = Revisions(look_up=lambda _model, _revision: "c" * 40)
    name, _ = fingerprint(
        name="rationales",
        version=1,
        uses=(),
        seed=0,
        recipe=recipe,
        upstream={},
        revisions=revisions,
        hashes=ContentHashes(),
    )
    return name


def test_only_a_limit_in_tokens_ties_the_rationales_to_the_student(tmp_path: Path) -> None:
    one, other = {"model": "hub/one"}, {"model": "hub/other"}
    assert digest(tmp_path, one) == digest(tmp_path, other)
    assert digest(tmp_path, one, max_tokens=5) != digest(tmp_path, other, max_tokens=5)
    assert digest(tmp_path, one, max_tokens=5) != digest(tmp_path, one)


def test_an_empty_table_for_the_template_changes_neither_fingerprint_nor_key(tmp_path: Path) -> None:
    def settings(**more: Any) -> dict[str, Any]:
        return {"teacher": "transformers", "transformers": {"model": "hub/teacher", **more}}

    plain = build_config(RationalesConfig, settings())
    assert "chat_template_kwargs" not in plain.deciding_settings()["transformers"]
    assert extra_parameters(plain) == {}
    given = settings(chat_template_kwargs={"enable_thinking": False})
    config = build_config(RationalesConfig, given)
    assert extra_parameters(config) == {"chat_template_kwargs": {"enable_thinking": False}}
    student = {"model": "hub/one"}
    assert digest(tmp_path, student, **given) != digest(tmp_path, student, **settings())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"messages": []}, "'messages' is not free"),
        ({"add_generation_prompt": False}, "'add_generation_prompt' is not free"),
        ({"enable-thinking": False}, "is not a name that a chat template can read"),
        ({"budget": float("nan")}, "expected plain values"),
        (["enable_thinking"], "expected a table"),
    ],
)
@pytest.mark.parametrize("teacher", ["transformers", "gguf"])
def test_wrong_variables_for_the_template(table: Any, message: str, teacher: str) -> None:
    named = {"model": "m"} if teacher == "transformers" else {"file": "m.gguf"}
    with pytest.raises(ConfigError, match=message):
        build_config(RationalesConfig, {"teacher": teacher, teacher: {**named, "chat_template_kwargs": table}})


def documented_recipes() -> list[str]:
    """The recipes in the documentation's section about reasoning teachers."""
    page = Path(__file__).parents[2] / "docs" / "rationales.md"
    section = page.read_text(encoding="utf-8").partition("## Reasoning teachers")[2].partition("\n## Prompts")[0]
    blocks = re.findall(r"(?:^ {4}.*\n|^\n)+", section, re.MULTILINE)
    return ["\n".join(line[4:] for line in block[block.index("[rationales]") - 4 :].splitlines())
            for block in blocks if "[rationales]" in block]  # fmt: skip


@pytest.mark.parametrize("recipe", documented_recipes())
def test_the_documented_recipes_are_valid(recipe: str) -> None:
    build_config(RationalesConfig, tomllib.loads(recipe)["rationales"])


def test_there_are_four_documented_recipes() -> None:
    assert len(documented_recipes()) == 4
