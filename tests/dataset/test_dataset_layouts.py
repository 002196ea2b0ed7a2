"""Layouts of public question sets, loaded by the lines of docs/bring-your-own-data.md and nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kpodx.config import build_config, resolve_paths
from kpodx.dataset.building import Built, build
from kpodx.dataset.config import DatasetConfig
from kpodx.dataset.options import split_labels
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bring-your-own-data.md"
CASES = PAGE.parents[2] / "shared" / "cases" / "layouts"
HAS_MATH = "math" in {kind.value for kind in AnswerKind}


def lines_of(file: str) -> list[str]:
    """Return the page's lines that load a file."""
    blocks = re.findall(r"(?:^ {4}\S.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    (block,) = [block for block in blocks if f'files.train = "{file}"' in block]
    return [line.strip() for line in block.splitlines()]


def load(folder: Path, file: str) -> Built:
    table = tomllib.loads("\n".join(lines_of(file)))
    config = build_config(DatasetConfig, table["dataset"])
    return build(resolve_paths(config, lambda _: folder))


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def options(first: str, *texts: str) -> list[dict[str, str]]:
    return [{"text": text, "label": chr(ord(first) + number)} for number, text in enumerate(texts)]


def drop_answer(number: str = "", spans: tuple[str, ...] = (), month: str = "", year: str = "") -> dict[str, Any]:
    return {"number": number, "spans": list(spans), "date": {"day": "", "month": month, "year": year}}


FACTS = ["Salt lakes hold salt.", "Salt lifts what floats."]
STRATEGY = [
    {"qid": "s1", "question": "Does one float in a salt lake?", "answer": True, "facts": FACTS},
    {"qid": "s2", "question": "Is ice hot?", "answer": False, "facts": ["Ice is frozen."]},
]
COINS = {
    "name": "coins",
    "keywords": ["coin"],
    "examples": [{"input": "Heads up?", "target": "no"}, {"input": "Tails up?", "target": ["yes"]}],
}
GAME = {
    "passage": "Ann had 3 goals, Bo 4.",
    "qa_pairs": [
        {"question": "How many in all?", "query_id": "d1", "answer": drop_answer("7")},
        {"question": "Who had more?", "query_id": "d2", "answer": drop_answer(spans=("Bo",))},
        {"question": "When?", "query_id": "d3", "answer": drop_answer(month="May", year="1999")},
    ],
}
ROWS: dict[str, str] = {
    "aqua.json": jsonl(
        {"question": "2 * 3?", "options": ["A)5", "B)6", "C)1.5"], "rationale": "2 * 3 = 6.", "correct": "B"},
        {"question": "x?", "options": ["(A) -4", "(B) none", "(C) 7"], "rationale": "Guess.", "correct": "A"},
    ),
    "logiqa.txt": (
        "\nc\nAll cats purr.\nWhat follows?\nA. No.\nB. Dogs purr.\nC. A cat purrs.\nD. It rains.\n"
        "\na\nTom is tall. Ann is not.\nWho is tall?\nA. Tom\nB. Ann\nC. Both\nD. Nobody\n"
    ),
    "arc.jsonl": jsonl(
        {"id": "a", "question": {"stem": "Hot?", "choices": options("1", "ice", "fire", "4")}, "answerKey": "2"},
        {"id": "b", "question": {"stem": "Cold?", "choices": options("A", "ice", "fire")}, "answerKey": "A"},
    ),
    "strategyqa.json": json.dumps(STRATEGY),
    "bigbench.json": json.dumps(COINS),
    "bigbench-scores.json": json.dumps(
        {"examples": [{"input": "Which is a fruit?", "target_scores": {"stone": 0, "plum": 1, "iron": 0}}]}
    ),
    "drop.json": json.dumps({"game_7": GAME}),
    "answers-as-lists.jsonl": jsonl(
        {"question": "3 * 4?", "answer": "[12.0]"},
        {"question": "2 + 2?", "answer": [4]},
        {"question": "Is 2 even?", "answer": 1},
        {"question": "Tom has 3. Does Tom have 4?", "answer": "0"},
        {"question": "How many is one?", "answer": 1},
    ),
    "math.jsonl": jsonl({"problem": "Simplify.", "answer": "\\sqrt{3}"}, {"problem": "A half?", "answer": "\\frac12"}),
}
"""Rows that stand for each layout."""
ANSWERS = {
    "aqua.json": ["B", "A"],
    "logiqa.txt": ["C", "A"],
    "arc.jsonl": ["B", "A"],
    "strategyqa.json": ["yes", "no"],
    "bigbench.json": ["no", "yes"],
    "bigbench-scores.json": ["B"],
    "drop.json": ["7", "Bo", "May 1999"],
    "answers-as-lists.jsonl": ["12", "4", "yes", "no", "1"],
}
SHARED_ANSWERS = {
    "aqua.json": ["C", "B", "C"],
    "logiqa.txt": ["B", "D"],
    "arc.jsonl": ["C", "A"],
    "strategyqa.json": ["no", "yes"],
    "bigbench.json": ["no", "yes"],
    "drop.json": ["24", "the home side"],
    "answers-as-lists.jsonl": ["39", "yes", "no"],
}
needs_math = pytest.mark.skipif(not HAS_MATH, reason="answers cannot be mathematics yet")


def load_rows(folder: Path, file: str) -> Built:
    (folder / file).write_text(ROWS[file], encoding="utf-8")
    return load(folder, file)


def answers(built: Built) -> list[str]:
    return [question.answer for question in built.questions]


@pytest.mark.parametrize("file", ROWS)
def test_the_page_loads_each_layout_in_five_lines(file: str) -> None:
    lines = lines_of(file)
    assert lines[0] == "[dataset]"
    assert len(lines) <= 5


@pytest.mark.parametrize("file", ANSWERS)
def test_rows_in_each_layout_are_read(tmp_path: Path, file: str) -> None:
    built = load_rows(tmp_path, file)
    assert (answers(built), built.counts()) == (ANSWERS[file], {})


@pytest.mark.parametrize("file", SHARED_ANSWERS)
def test_other_rows_in_each_layout_are_read(file: str) -> None:
    if not CASES.is_dir():
        pytest.skip("the cases (../shared/cases) are not beside the checkout")
    built = load(CASES, file)
    assert (answers(built), built.counts()) == (SHARED_ANSWERS[file], {})


@needs_math
def test_answers_that_are_mathematics_are_read(tmp_path: Path) -> None:
    assert len(load_rows(tmp_path, "math.jsonl").questions) == 2
    if CASES.is_dir():
        assert len(load(CASES, "math.jsonl").questions) == 6


@pytest.mark.parametrize(
    "answer",
    [
        r"\sqrt{51}",
        "2(2k+1)",
        r"(2, \infty)",
        "2k+2",
        "x > 5",
        r"3\pi",
        "x^2",
        r"\text{no} \cup 3",
        "(a, b)",
        "[1, 2]",
        "(3,4)",
    ],
)
def test_mathematics_is_never_read_as_the_number_in_it(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl({"question": "q?", "answer": answer}, {"question": "r?", "answer": "3"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"a.jsonl, line 1: expected a number") as caught:
        load_columns(path, "number")
    assert "dataset.answer_kind=math" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("5 x-rays", "5"),
        ("60 m/s", "60"),
        ("2 t-shirts", "2"),
        ("$1,250.50", "1250.5"),
        ("-3/4", "-0.75"),
        ("12 (pens)", "12"),
    ],
)
def test_numbers_with_units_are_no_mathematics(tmp_path: Path, answer: str, number: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl({"question": "q?", "answer": answer}), encoding="utf-8")
    assert answers(load_columns(path, "number")) == [number]


def load_columns(path: Path, kind: str, **columns: Any) -> Built:
    settings = {"format": "columns", "answer_kind": kind, "files": {"train": str(path)}, "columns": columns}
    return build(build_config(DatasetConfig, settings))


def only(built: Built) -> Question:
    (question,) = built.questions
    return question


def test_labels_inside_options_are_removed_and_counted(tmp_path: Path) -> None:
    built = load_rows(tmp_path, "aqua.json")
    assert [question.choices for question in built.questions] == [("5", "6", "1.5"), ("-4", "none", "7")]
    assert built.remarks == {"labels_inside_options_stripped": 2}
    assert built.questions[0].gold_rationales == ("2 * 3 = 6.",)


def test_a_list_of_steps_is_one_rationale_and_alternatives_are_several(tmp_path: Path) -> None:
    first = load_rows(tmp_path, "strategyqa.json").questions[0]
    assert (first.gold_rationales, first.num_steps) == (("\n".join(FACTS),), 2)
    several = load_columns(tmp_path / "strategyqa.json", "yes_no", rationale="facts").questions[0]
    assert (several.gold_rationales, several.num_steps) == (tuple(FACTS), None)


def test_a_row_inherits_the_passage_above_it(tmp_path: Path) -> None:
    built = load_rows(tmp_path, "drop.json")
    assert [question.id for question in built.questions] == ["d1", "d2", "d3"]
    assert built.questions[0].question == "Ann had 3 goals, Bo 4. How many in all?"
    assert [question.answer_kind.value for question in built.questions] == ["number", "text", "text"]


def test_truth_as_a_number_is_counted(tmp_path: Path) -> None:
    built = load_rows(tmp_path, "answers-as-lists.jsonl")
    assert built.remarks == {"1_or_0_read_as_yes_or_no": 2}


SQUAD = {
    "data": [{"title": "t", "paragraphs": [{"context": "C.", "qas": [{"question": "Q?", "answers": [{"text": "x"}]}]}]}]
}
KINDS: dict[str, tuple[str, object, str, dict[str, Any], tuple[str, str]]] = {
    "squad": (
        "a.json",
        SQUAD,
        "text",
        {"rows": "data.paragraphs.qas", "question": ["context", "question"], "answer": "answers.text"},
        ("C. Q?", "x"),
    ),
    "rows by their ids": (
        "a.json",
        {"q1": {"question": "Q?", "answer": 3}},
        "number",
        {"rows": "*", "id": "key"},
        ("Q?", "3"),
    ),
    "rows nested in lines": (
        "a.jsonl",
        {"text": "T.", "qs": [{"q": "Q?", "answer": 3}]},
        "number",
        {"rows": "qs", "question": ["text", "q"]},
        ("T. Q?", "3"),
    ),
    "options by letters": (
        "a.jsonl",
        {"question": "Q?", "options": {"A": "x", "B": "y"}, "answer": "B"},
        "choice",
        {"choices": "options"},
        ("Q?", "B"),
    ),
    "options in one text": (
        "a.jsonl",
        {"question": "Q?", "options": "a ) 38 , b ) 27.5 , c ) none of these", "answer": "c"},
        "choice",
        {"choices": "options"},
        ("Q?", "C"),
    ),
    "answer with its label": (
        "a.jsonl",
        {"question": "Q?", "options": ["A)38", "B)27"], "answer": "B)27"},
        "choice",
        {"choices": "options"},
        ("Q?", "B"),
    ),
    "answers counted from 0": (
        "a.jsonl",
        {"question": "Q?", "options": ["0", "1", "2"], "answer": 2},
        "choice",
        {"choices": "options", "first_choice": 0},
        ("Q?", "C"),
    ),
    "answers counted from 1, as text": (
        "a.jsonl",
        {"question": "Q?", "options": ["x", "y", "z"], "answer": "1"},
        "choice",
        {"choices": "options", "first_choice": 1},
        ("Q?", "A"),
    ),
    "options that are numbers": (
        "a.jsonl",
        {"question": "Q?", "options": [5, 7.5], "answer": 7.5},
        "choice",
        {"choices": "options"},
        ("Q?", "B"),
    ),
    "annotators who agree": (
        "a.jsonl",
        {"question": "Q?", "answer": ["3", "3.0"]},
        "number",
        {},
        ("Q?", "3"),
    ),
    "a question of two columns, one of them empty": (
        "a.jsonl",
        {"instruction": "Q?", "input": "", "answer": "x"},
        "text",
        {"question": ["instruction", "input"]},
        ("Q?", "x"),
    ),
    "one of several answers by its place": (
        "a.jsonl",
        {"question": "Q?", "answer": ["x", "y"]},
        "text",
        {"answer": "answer.1"},
        ("Q?", "y"),
    ),
    "options at the end of the question": (
        "a.jsonl",
        {"input": "Which is hot?\nOptions:\n(A) ice\n(B) fire", "target": "(B)"},
        "choice",
        {"question": "input", "choices": "input", "answer": "target"},
        ("Which is hot?", "B"),
    ),
    "marks beside the options": (
        "a.jsonl",
        {"question": "Q?", "targets": {"choices": ["x", "y", "z"], "labels": [0, 0, 1]}},
        "choice",
        {"choices": "targets.choices", "answer": "targets.labels"},
        ("Q?", "C"),
    ),
    "marks inside the options": (
        "a.jsonl",
        {"question": "Q?", "options": [{"text": "x", "correct": True}, {"text": "y", "correct": False}]},
        "choice",
        {"choices": "options", "answer": "options.correct"},
        ("Q?", "A"),
    ),
    "options with keys and values": (
        "a.jsonl",
        {"question": "Q?", "options": [{"key": "A", "value": "x"}, {"key": "B", "value": "y"}], "answer": "B"},
        "choice",
        {"choices": "options"},
        ("Q?", "B"),
    ),
    "labels in full width": (
        "a.jsonl",
        {"question": "Q?", "options": ["A．x", "（B）y", "C、z"], "answer": "B"},
        "choice",
        {"choices": "options"},
        ("Q?", "B"),
    ),
    "an answer inside its solution": (
        "a.jsonl",
        {"problem": "Q?", "solution": r"So it is \boxed{12}. Done."},
        "number",
        {"question": "problem", "answer": "solution"},
        ("Q?", "12"),
    ),
    "an answer behind a mark": ("a.jsonl", {"question": "Q?", "answer": "2 * 6\n#### 12"}, "number", {}, ("Q?", "12")),
    "equal answers as a text": ("a.jsonl", {"question": "Q?", "answer": "['12', '12']"}, "number", {}, ("Q?", "12")),
    "truth in words": ("a.jsonl", {"question": "Q?", "answer": "False"}, "yes_no", {}, ("Q?", "no")),
    "truth as text of a number": ("a.jsonl", {"question": "Q?", "answer": "1"}, "yes_no", {}, ("Q?", "yes")),
    "amounts of money in a mixed set": (
        "a.jsonl",
        {"question": "Q?", "answer": "$1,250.50"},
        "mixed",
        {},
        ("Q?", "1250.5"),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_other_layouts_of_the_same_kinds(tmp_path: Path, name: str) -> None:
    file, content, kind, columns, expected = KINDS[name]
    (tmp_path / file).write_text(json.dumps(content) + "\n", encoding="utf-8")
    question = only(load_columns(tmp_path / file, kind, **columns))
    assert (question.question, question.answer) == expected


def test_blocks_with_labelled_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"Q: How many?\r\nA: 3\r\n\r\n\r\nQ: Ratio 1:2?\r\nA: 4")
    built = load_columns(path, "number", question="Q", answer="A")
    assert [(q.question, q.answer) for q in built.questions] == [("How many?", "3"), ("Ratio 1:2?", "4")]


def test_blocks_may_have_fewer_options(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("b\nQ?\nA. x\nB. y\n\nc\nR?\nA. x\nB. y\nC. z\n", encoding="utf-8")
    columns = {"answer": "line 1", "question": "line 2", "choices": ["line 3", "line 4", "line 5"]}
    built = load_columns(path, "choice", **columns)
    assert [(question.choices, question.answer) for question in built.questions] == [
        (("x", "y"), "B"),
        (("x", "y", "z"), "C"),
    ]
    assert built.remarks["empty_last_options_left_out"] == 1


def test_cells_may_be_separated_by_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffquestion;answer\r\n"Wie viele, bitte?";3\r\n'.encode())
    assert only(load_columns(path, "number")).question == "Wie viele, bitte?"


def test_options_in_columns_may_end_early(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("question,A,B,C,answer\nQ?,x,y,,B\nR?,x,y,z,C\n", encoding="utf-8")
    built = load_columns(path, "choice", choices=["A", "B", "C"])
    assert [question.choices for question in built.questions] == [("x", "y"), ("x", "y", "z")]
    assert built.remarks == {"empty_last_options_left_out": 1}


def test_an_answer_that_counts_options_needs_the_first_number(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl({"question": "Q?", "o": ["x", "y"], "answer": 1}), encoding="utf-8")
    with pytest.raises(
        DataError, match="line 1: expected one of the options' labels or texts as the answer in column 'answer', got 1"
    ) as caught:
        load_columns(path, "choice", choices="o")
    assert "first_choice" in str(caught.value.hint)
    path.write_text(jsonl({"question": "Q?", "o": ["x", "y"], "answer": 0}), encoding="utf-8")
    with pytest.raises(DataError, match="expected a number from 1 to 2 as the answer in column 'answer', got 0"):
        load_columns(path, "choice", choices="o", first_choice=1)


def test_several_answers_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"question": "Q?", "answer": ["x", "y"]}, {"question": "R?", "answer": "z"}]
    path.write_text(jsonl(*rows), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"line 1: expected one answer in column 'answer', got 2 answers: \['x', 'y'\]"
    ) as caught:
        load_columns(path, "text")
    assert "'answer.0'" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ({"examples": [{"q": 1}], "name": "x"}, {}, r"got an object with the keys \['examples', 'name'\]"),
        (
            {"data": [{"q": 1}]},
            {"rows": "examples"},
            r"expected the key 'examples', got an object with the keys \['data'\]",
        ),
        ({"data": {"a": 1}}, {"rows": "data"}, r"'data': expected a list of rows, got an object with the keys \['a'\]"),
        ({"data": [1]}, {"rows": "data"}, "'data', item 1: expected a list of rows, got '1'"),
        ({"data": 3}, {"rows": "data.*"}, "'data': expected an object or a list for '\\*', got '3'"),
        (
            [{"question": {"text": "Q?"}}],
            {"question": "question.stem"},
            r"item 1: expected a column 'question.stem', but 'question' is an object with the keys \['text'\]",
        ),
        ([{"q": "Q?"}], {"question": "question.stem"}, r"expected a column 'question.stem', got the columns \['q'\]"),
    ],
)
def test_keys_that_are_not_there_are_named_with_those_that_are(
    tmp_path: Path, content: object, columns: dict[str, str], message: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        load_columns(path, "number", **columns)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_rows_that_all_fail_are_not_to_be_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl({"question": "Q?", "answer": "blue"}, {"question": "R?", "answer": "red"}), encoding="utf-8")
    for policy in ("error", "drop"):
        settings = {
            "format": "columns",
            "answer_kind": "number",
            "files": {"train": str(path)},
            "on_unreadable": policy,
        }
        with pytest.raises(
            DataError, match=r"line 1: expected a number .* in column 'answer', got 'blue'\. So do all 2 rows\."
        ) as caught:
            build(build_config(DatasetConfig, settings))
        assert "drop" not in str(caught.value.hint)
        assert "dataset.columns.answer" in str(caught.value.hint)
    path.write_text(jsonl(*({"question": f"{n}?", "answer": n or "blue"} for n in range(3))), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_columns(path, "number")
    assert "drop" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("texts", "stripped"),
    [
        (["A)1", "B)2"], ["1", "2"]),
        (["(A) x", "(B) y", "(C) z"], ["x", "y", "z"]),
        (["a. x", "b. y"], ["x", "y"]),
        (["A: x", "B: y"], ["x", "y"]),
        (["[A] x", "[B] y"], ["x", "y"]),
        (["A - x", "B - y"], ["x", "y"]),
        (["a ) 38", "b ) 27.5"], ["38", "27.5"]),
        (["1. x", "2. y"], ["x", "y"]),
        (["1) 5", "2) 7"], ["5", "7"]),
        (["(1) x", "(2) y"], ["x", "y"]),
        (["A)-4", "B)+4"], ["-4", "+4"]),
        (["1.5", "2.5"], None),
        (["1:2", "2:3"], None),
        (["A. x", "C. y"], None),
        (["B. x", "A. y"], None),
        (["A. x", "y"], None),
        (["A.", "B."], None),
        (["A", "B"], None),
        (["A cat", "B cat"], None),
        (["A-level", "B-level"], None),
        (["-1", "-2"], None),
        (["0. x", "1. y"], None),
    ],
)
def test_labels_are_removed_only_if_all_are_right(texts: list[str], stripped: list[str] | None) -> None:
    found = split_labels(texts)
    assert (list(found[1]) if found else None) == stripped


@pytest.mark.parametrize("written", [0, "0", "1"])
def test_a_number_without_a_label_names_the_setting_that_counts_options(tmp_path: Path, written: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl({"question": "q?", "choices": ["sea", "zoo"], "answer": written}), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_columns(path, "choice", choices="choices")
    assert "dataset.columns.first_choice" in str(caught.value.hint)
