"""Published ids, carving, duplicates."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.dataset.splits import (
    apply_split_ids,
    carve,
    drop_repeats,
    load_split_ids,
    question_key,
    require_unique_ids,
    separate_splits,
)
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question, Split

TRAIN, VALIDATION, TEST = Split.TRAIN, Split.VALIDATION, Split.TEST


def make(number: int, split: Split = TRAIN, text: str | None = None) -> Question:
    return Question(f"q{number}", split, text or f"Question {number}?", str(number))


def ids_of(questions: list[Question], split: Split) -> list[str]:
    return [question.id for question in questions if question.split is split]


def test_the_key_of_a_question_is_its_text_and_its_choices() -> None:
    question = Question("1", TRAIN, "Where\tis it?", "A", AnswerKind.CHOICE, ("Here", "there"))
    assert question_key(question) == question_key(
        replace(question, question=" where is  IT? ", choices=("There", "here"))
    )
    assert question_key(question) != question_key(replace(question, choices=("Here", "nowhere")))


def test_one_id_for_two_questions_is_told() -> None:
    require_unique_ids([make(1), make(1, TEST), make(2)])
    with pytest.raises(DataError, match=r"Two questions have the id 'q1': 'Question 1\?' and 'Other\?'"):
        require_unique_ids([make(1), make(1, text="Other?")])


def write_ids(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_id_files_name_splits_and_may_say_what_they_count(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "ids.json", {"S": {"of": "lines", "dev": [3, 1], "test": ["a"]}})
    assert load_split_ids(path, "S") == {VALIDATION: ["3", "1"], TEST: ["a"]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"T": {"dev": [1]}}, r"expected a set 'S', got \['T'\]"),
        ([1], "expected a set 'S', got list"),
        ({"S": {"of": "x"}}, r"expected lists named .* got \[\]"),
        ({"S": {"dev": [1], "extra": [2]}}, r"got \['dev', 'extra'\]"),
        ({"S": {"dev": [1], "validation": [2]}}, "dev \\(or validation\\)"),
        ({"S": {"dev": [1], "test": [2, 1]}}, r"1 ids are listed more than once: \['1'\]"),
        ({"S": {"dev": [1.5]}}, "dev: expected a list of ids"),
        ({"S": {"dev": "1"}}, "dev: expected a list of ids"),
    ],
)
def test_id_files_that_cannot_be_followed_are_told(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_split_ids(write_ids(tmp_path / "ids.json", value), "S")


def test_id_files_that_are_missing_or_no_json_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        load_split_ids(tmp_path / "ids.json", "S")
    (tmp_path / "ids.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="expected a JSON object of sets"):
        load_split_ids(tmp_path / "ids.json", "S")


def test_listed_questions_move_and_others_stay_only_where_no_list_is() -> None:
    questions = [make(0), make(1), make(2, TEST), make(3, TEST), make(4, TEST)]
    moved, left_out = apply_split_ids(questions, {VALIDATION: ["q2"], TEST: ["q3", "gone"]}, ["gone"], "ids.json")
    assert ids_of(moved, TRAIN) == ["q0", "q1"]
    assert (ids_of(moved, VALIDATION), ids_of(moved, TEST), left_out) == (["q2"], ["q3"], 1)


def test_unknown_ids_are_told_with_what_the_source_has() -> None:
    with pytest.raises(
        DataError, match=r"ids.json: 2 of 3 ids are not in the source: \['x', 'y'\].* look like \['q0'\]"
    ):
        apply_split_ids([make(0)], {TEST: ["q0", "x", "y"]}, [], "ids.json")


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31 - 1), st.integers(0, 10**6))
def test_carving_depends_on_each_question_alone(seed: int, shuffle_seed: int) -> None:
    questions = [make(number) for number in range(60)]
    whole = {question.id: question.split for question in carve(questions, TRAIN, 0.4, 0.3, seed)}
    part = random.Random(shuffle_seed).sample(questions, 50)
    assert all(whole[question.id] is question.split for question in carve(part, TRAIN, 0.4, 0.3, seed))


def test_carving_gives_about_the_fractions_and_another_seed_another_split() -> None:
    questions = [make(number) for number in range(4000)]
    carved = carve(questions, TRAIN, 0.1, 0.2, seed=0)
    # 400 and 800 are expected; 5 standard deviations are 95 and 127
    assert abs(len(ids_of(carved, VALIDATION)) - 400) < 95
    assert abs(len(ids_of(carved, TEST)) - 800) < 127
    assert carved != carve(questions, TRAIN, 0.1, 0.2, seed=1)


def test_carving_takes_only_from_its_source_and_copies_go_together() -> None:
    questions = (
        [make(n) for n in range(50)] + [make(100 + n, TEST) for n in range(50)] + [make(200, TEST, "QUESTION 100?")]
    )
    carved = carve(questions, TEST, 0.5, 0.0, seed=3)
    assert ids_of(carved, TRAIN) == [f"q{n}" for n in range(50)]
    splits = {question.id: question.split for question in carved}
    assert splits["q200"] is splits["q100"]
    assert 10 < len(ids_of(carved, VALIDATION)) < 41


def test_a_fraction_that_gives_nothing_is_told() -> None:
    with pytest.raises(DataError, match=r"test_fraction=0.001 of 3 questions gave none"):
        carve([make(n) for n in range(3)], TRAIN, 0.0, 0.001, seed=0)


def test_copies_inside_a_split_are_dropped_but_not_across() -> None:
    questions = [make(0), make(1, text="question  0?"), make(2, TEST, "QUESTION 0?"), make(3)]
    kept, dropped = drop_repeats(questions)
    assert ([question.id for question in kept], dropped) == (["q0", "q2", "q3"], 1)


def test_copies_across_splits_are_told_by_id_or_kept_where_they_matter_most() -> None:
    questions = [
        make(0, TRAIN, "a"),
        make(1, TRAIN, "b"),
        make(2, TRAIN, "c"),
        make(3, VALIDATION, "A"),
        make(4, VALIDATION, "b"),
        make(5, TEST, " a"),
    ]
    with pytest.raises(
        DataError, match=r"3 questions are in two splits.*validation q3 = test q5; train q0 = test q5; train q1"
    ):
        separate_splits(questions, drop=False)
    kept, dropped = separate_splits(questions, drop=True)
    assert ([question.id for question in kept], dropped) == (["q2", "q4", "q5"], 3)


def test_at_most_ten_pairs_are_named() -> None:
    questions = [make(n) for n in range(12)] + [make(50 + n, TEST, f"Question {n}?") for n in range(12)]
    with pytest.raises(DataError, match="12 questions are in two splits") as caught:
        separate_splits(questions, drop=False)
    assert caught.value.message.count(" = ") == 10
