"""What the predictor is asked for, and what one weight stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.modeling.loading import load_tokenizer
from kpodx.schema import AnswerKind, Question, Rationale, Split
from kpodx.text.prompts import student_prompt
from kpodx.weighting.config import Target
from kpodx.weighting.items import predictor_items
from kpodx.weighting.predictor import PredictorItem
from kpodx.weighting.targets import answer_words, next_result_sentences, next_step_targets
from kpodx.weighting.units import mean_over_units, word_leaders

TEXT = "Tom has 3 apples. He gets 4 more, and 3 + 4 = 7. So he has some."
QUESTION = Question("q", Split.TRAIN, "How many apples?", "7")
RATIONALE = Rationale("r", "q", TEXT, "7", "t")


def item_for(folder: Path, target: Target, rationale: Rationale = RATIONALE) -> tuple[PredictorItem, list[str]]:
    tokenizer = load_tokenizer(str(folder))
    [item] = predictor_items([rationale], [QUESTION], tokenizer, tokenizer, target=target, unit="token")
    return item, [tokenizer.decode(ids).replace(" ", "") for ids in item.targets]


def test_the_question_is_there_in_both_vocabularies(tiny_t5: Path, tiny_llama: Path) -> None:
    student, predictor = load_tokenizer(str(tiny_llama)), load_tokenizer(str(tiny_t5))
    [item] = predictor_items([RATIONALE], [QUESTION], student, predictor, target="answer", unit="token")
    prompt = student_prompt(QUESTION)
    assert student.decode(item.student_prompt_ids) == prompt
    assert predictor.decode(item.prompt_ids) == prompt
    assert item.prompt_ids != item.student_prompt_ids


def read_until(item: PredictorItem, stop: int) -> str:
    return TEXT[: item.spans[stop - 1][1]]


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama"])
def test_the_next_step_is_asked_for_at_each_step_end(family: str, request: pytest.FixtureRequest) -> None:
    item, wanted = item_for(request.getfixturevalue(family), "next-step")
    assert [read_until(item, stop).strip() for stop in item.stops] == [TEXT[:17], TEXT[:48], TEXT]
    assert wanted == ["Hegets4more,and3+4=7.", "Sohehassome.", "Therefore,theansweris7."]


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama"])
def test_steps_without_a_number_are_not_asked_for(family: str, request: pytest.FixtureRequest) -> None:
    item, wanted = item_for(request.getfixturevalue(family), "next-result")
    assert [read_until(item, stop).strip() for stop in item.stops] == [TEXT[:17], TEXT]
    assert len(wanted) == 2
    assert wanted[0] == wanted[1]
    assert wanted[0].endswith("7.")


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama"])
def test_the_papers_target_is_the_answer_behind_every_token(family: str, request: pytest.FixtureRequest) -> None:
    item, wanted = item_for(request.getfixturevalue(family), "answer")
    assert list(item.stops) == list(range(1, len(item.rationale_ids) + 1))
    assert set(wanted) == {"Therefore,theansweris7."}


SENTENCES = st.sampled_from(["Tom has 3. ", "So. ", "3 + 4 = 7. ", "Well!\n", "x ", "... ", "He pays $3.50 now. "])


@given(st.lists(SENTENCES, min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_every_rationale_ends_with_the_answer(tiny_t5: Path, sentences: list[str]) -> None:
    for target in ("next-step", "next-result", "answer"):
        item, wanted = item_for(tiny_t5, target, Rationale("r", "q", "A 1. " + "".join(sentences), "7", "t"))
        assert len(item.stops) == len(item.targets) >= 1
        assert item.stops[-1] == len(item.rationale_ids)
        assert all(a < b for a, b in zip(item.stops, item.stops[1:], strict=False))
        assert wanted[-1].endswith("7.")
        assert all(item.targets)


def test_next_steps_are_cut_from_the_rationales_own_tokens() -> None:
    assert next_step_targets((1, 2, 3), (3,), (9,)) == ((3,), ((9,),))
    assert next_step_targets((1, 2, 3, 4), (1, 2, 4), (9,)) == ((1, 2, 4), ((2,), (3, 4), (9,)))


@pytest.mark.parametrize(
    ("step", "result"),
    [
        ("16 - 3 - 4 = 9 eggs.", "9"),
        ("She pays $1,200.50 in all.", "1200.5"),
        ("That is 25%.", "25"),
        ("Then we are done.", None),
        ("He has twelve.", "12"),
        ("So 3 + 4 = 7, as said.", "7"),
        ("It takes 1/3 hour.", "1/3"),
        ("The rest is -4.", "-4"),
        ("", None),
        ("48/2 = <<48/2=24>>24 clips.", "24"),
    ],
)
def test_the_result_of_a_step_is_its_last_number(step: str, result: str | None) -> None:
    expected = None if result is None else f"The next result is {result}."
    assert next_result_sentences(["x", step], "yes") == [expected, "The next result is yes."]


def test_a_choice_is_asked_for_in_the_options_words() -> None:
    question = Question("q", Split.TRAIN, "Where?", "B", AnswerKind.CHOICE, ("sea", "river bank"))
    assert answer_words(question, Rationale("r", "q", "x", "B", "t")) == "river bank"
    yes_no = Question("q", Split.TRAIN, "Is it?", "yes", AnswerKind.YES_NO)
    assert answer_words(yes_no, Rationale("r", "q", "x", "no", "t")) == "no"


@pytest.mark.parametrize(
    ("text", "pieces", "groups"),
    [
        ("12 cats", ["1", "2", " ca", "ts"], [["1", "2"], [" ca", "ts"]]),
        ("$1,200.50.", ["$", "1", ",", "200", ".", "50", "."], [["$"], ["1", ",", "200", ".", "50"], ["."]]),
        (
            "Tom's mother-in-law",
            ["Tom", "'", "s", " mother", "-", "in", "-law"],
            [["Tom", "'", "s"], [" mother", "-", "in", "-law"]],
        ),
        ("3+4=7", ["3", "+", "4", "=", "7"], [["3"], ["+"], ["4"], ["="], ["7"]]),
        ("a, b", ["a", ",", " ", "b"], [["a"], [","], [" "], ["b"]]),
        ("5kg", ["5", "k", "g"], [["5"], ["k", "g"]]),
        ("naïve", ["na", "ï", "ve"], [["na", "ï", "ve"]]),
        ("1. 2", ["1", ".", " 2"], [["1"], ["."], [" 2"]]),
        ("x - y", ["x", " -", " y"], [["x"], [" -"], [" y"]]),
        ("10 10", ["1", "0", " 1", "0"], [["1", "0"], [" 1", "0"]]),
    ],
)
def test_words_and_numbers_by_hand(text: str, pieces: list[str], groups: list[list[str]]) -> None:
    stops = [sum(map(len, pieces[: n + 1])) for n in range(len(pieces))]
    spans = [(stop - len(piece), stop) for stop, piece in zip(stops, pieces, strict=True)]
    leaders = word_leaders(text, spans)
    found = [
        [p for p, leader in zip(pieces, leaders, strict=True) if leader == first] for first in sorted(set(leaders))
    ]
    assert found == groups


@given(st.text(alphabet="ab1 .,'-$", max_size=20))
def test_leaders_lead_themselves_and_stand_first(text: str) -> None:
    leaders = word_leaders(text, [(n, n + 1) for n in range(len(text))])
    assert all(leader <= place and leaders[leader] == leader for place, leader in enumerate(leaders))
    assert all(leaders[n] == n for n, character in enumerate(text) if character in " $")


def test_units_share_their_mean() -> None:
    value = torch.tensor([[1.0, 3.0, 5.0, 0.0]], requires_grad=True)
    mean = mean_over_units(value, torch.tensor([[0, 0, 2, 3]]))
    assert mean.tolist() == [[2, 2, 5, 0]]
    [gradient] = torch.autograd.grad(mean[0, 0], value)
    assert gradient.tolist() == [[0.5, 0.5, 0, 0]]
