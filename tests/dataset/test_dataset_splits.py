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
    carved_count,
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
    assert (ids_of(moved, VALIDATION), ids_of(moved, TEST)) == (["q2"], ["q3"])
    assert [question.id for question in left_out] == ["q4"]


def test_unknown_ids_are_told_with_what_the_source_has() -> None:
    with pytest.raises(
        DataError, match=r"ids.json: 2 of 3 ids are not in the source: \['x', 'y'\].* look like \['q0'\]"
    ):
        apply_split_ids([make(0)], {TEST: ["q0", "x", "y"]}, [], "ids.json")


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31 - 1), st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 30), st.integers(0, 29))
def test_carving_is_exact_and_does_not_depend_on_the_order(
    seed: int, shuffle_seed: int, total: int, validation: int, test: int
) -> None:
    questions = [make(number) for number in range(total)]
    counts = {VALIDATION: validation, TEST: test}
    shuffled = random.Random(shuffle_seed).sample(questions, total)
    if validation + test >= total:
        with pytest.raises(DataError, match=rf"Expected more questions in train .* got {total}"):
            carve(questions, TRAIN, counts, seed)
        return
    carved = carve(questions, TRAIN, counts, seed)
    assert [len(ids_of(carved, split)) for split in (TRAIN, VALIDATION, TEST)] == [
        total - validation - test,
        validation,
        test,
    ]
    assert {q.id: q.split for q in carved} == {q.id: q.split for q in carve(shuffled, TRAIN, counts, seed)}
    assert [question.id for question in carved] == [question.id for question in questions]


def test_another_seed_gives_another_split() -> None:
    questions = [make(number) for number in range(400)]
    first, second = (carve(questions, TRAIN, {TEST: 200}, seed) for seed in (0, 1))
    shared = set(ids_of(first, TEST)) & set(ids_of(second, TEST))
    assert 60 < len(shared) < 140  # 100 are expected; 5 standard deviations are 25


def test_carving_takes_only_from_its_source() -> None:
    questions = [make(n) for n in range(50)] + [make(100 + n, TEST) for n in range(51)]
    carved = carve(questions, TEST, {VALIDATION: 25}, seed=3)
    assert ids_of(carved, TRAIN) == [f"q{n}" for n in range(50)]
    assert (len(ids_of(carved, VALIDATION)), len(ids_of(carved, TEST))) == (25, 26)


@pytest.mark.parametrize(
    ("fraction", "total", "count"),
    [(0.5, 1319, 660), (0.15, 1000, 150), (0.145, 1000, 145), (0.285, 1000, 285), (0.1, 5, 1), (0.9, 10, 9)],
)
def test_a_fraction_is_a_whole_number_of_questions(fraction: float, total: int, count: int) -> None:
    assert carved_count(TEST, fraction, total) == count


def test_a_fraction_that_gives_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match=r"test_fraction=0.001 of 3 questions gave none") as caught:
        carved_count(TEST, 0.001, 3)
    assert "dataset.test_count" in str(caught.value.hint)


def test_copies_inside_a_split_are_dropped_but_not_across() -> None:
    questions = [make(0), make(1, text="question  0?"), make(2, TEST, "QUESTION 0?"), make(3)]
    kept, dropped = drop_repeats(questions)
    assert [question.id for question in kept] == ["q0", "q2", "q3"]
    assert [(copy.dropped.id, copy.kept.id) for copy in dropped] == [("q1", "q0")]


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
    assert [question.id for question in kept] == ["q2", "q4", "q5"]
    assert [(copy.dropped.id, copy.kept.id) for copy in dropped] == [("q3", "q5"), ("q0", "q5"), ("q1", "q4")]


def test_at_most_ten_pairs_are_named() -> None:
    questions = [make(n) for n in range(12)] + [make(50 + n, TEST, f"Question {n}?") for n in range(12)]
    with pytest.raises(DataError, match="12 questions are in two splits") as caught:
        separate_splits(questions, drop=False)
    assert caught.value.message.count(" = ") == 10
