"""Rows of each published set, and of files of one's own, as questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kpodx.dataset import asdiv, columns, commonsense_qa, gsm8k, svamp
from kpodx.dataset.config import ColumnsConfig
from kpodx.dataset.rows import Row, Unusable, count_operators
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question, Split

GSM8K = {
    "question": "How many clips?",
    "answer": "In April 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>1,072 clips.\n#### 1,072",
}
SVAMP = {
    "ID": "chal-7",
    "Body": "Dan had $ 3 left ",
    "Question": "How much was the bar?",
    "Equation": "( ( 4.0 - 3.0 ) * 2.0 )",
    "Answer": 2.0,
}
CSQA = {
    "id": "q1",
    "answerKey": "B",
    "question": {
        "stem": "Where are people?",
        "choices": [{"label": "A", "text": "track"}, {"label": "B", "text": "town"}],
    },
}
HUB_CSQA = {
    "id": "q1",
    "answerKey": "B",
    "question": "Where are people?",
    "choices": {"label": ["A", "B"], "text": ["track", "town"]},
}
ASDIV = """<?xml version="1.0" encoding="UTF-8"?>
<Machine-Reading-Corpus-File><ProblemSet>
<Problem ID="nluds-0001" Grade="1" Source="x"><Body>Seven red &amp; two green apples.</Body>
<Question>How many apples?</Question><Solution-Type>Addition</Solution-Type>
<Answer>9 (apples)</Answer><Formula>7+2=9</Formula></Problem>
<Problem ID="nluds-0002"><Body>b</Body><Question>q?</Question><Answer>{}</Answer><Formula>x</Formula></Problem>
</ProblemSet></Machine-Reading-Corpus-File>"""


def row(values: dict[str, Any], index: int = 0, split: Split = Split.TRAIN) -> Row:
    return Row(values, "file.jsonl, line 1", split, index)


def as_question(parsed: Question | Unusable) -> Question:
    assert isinstance(parsed, Question)
    return parsed


def as_unusable(parsed: Question | Unusable) -> Unusable:
    assert isinstance(parsed, Unusable)
    return parsed


def test_gsm8k_keeps_the_human_steps_without_marks_and_answer() -> None:
    assert gsm8k.parse_row(row(GSM8K, 12, Split.TEST)) == Question(
        id="gsm8k-test-12",
        split=Split.TEST,
        question="How many clips?",
        answer="1072",
        gold_rationales=("In April 48/2 = 24 clips.\nIn all 48+24 = 1,072 clips.",),
        num_steps=2,
    )


def test_gsm8k_counts_lines_where_there_are_no_marks() -> None:
    parsed = as_question(gsm8k.parse_row(row({**GSM8K, "answer": "Let p be it.\n\nThen p = 3.\nDone.\n#### 3"})))
    assert parsed.num_steps == 3
    bare = as_question(gsm8k.parse_row(row({**GSM8K, "answer": "#### -3"})))
    assert (bare.answer, bare.gold_rationales, bare.num_steps) == ("-3", (), None)


@pytest.mark.parametrize("answer", ["no mark 72", "steps #### many", "steps ####"])
def test_gsm8k_answers_that_cannot_be_read_are_told(answer: str) -> None:
    unusable = as_unusable(gsm8k.parse_row(row({**GSM8K, "answer": answer})))
    assert (unusable.id, unusable.reason) == ("gsm8k-train-0", "unreadable_answer")
    assert unusable.error is not None
    assert "file.jsonl, line 1: expected a" in unusable.error.message


def test_wrong_columns_are_told_with_the_columns_found() -> None:
    with pytest.raises(DataError, match=r"line 1: expected a column 'answer', got the columns \['q', 'reply'\]"):
        gsm8k.parse_row(row({"q": "How many?", "reply": "3"}))


@pytest.mark.parametrize("value", ["", "  ", None, 3, "\ud800"])
def test_a_question_must_be_text(value: object) -> None:
    with pytest.raises(DataError, match="column 'question'"):
        gsm8k.parse_row(row({**GSM8K, "question": value}))


def test_svamp_joins_body_and_question_with_one_space_and_counts_operators() -> None:
    assert svamp.parse_row(row(SVAMP)) == Question(
        id="chal-7", split=Split.TRAIN, question="Dan had $ 3 left How much was the bar?", answer="2", num_steps=2
    )
    assert as_question(svamp.parse_row(row({**SVAMP, "Answer": "145.00"}))).answer == "145"
    assert as_unusable(svamp.parse_row(row({**SVAMP, "Answer": None}))).reason == "unreadable_answer"
    assert as_unusable(svamp.parse_row(row({**SVAMP, "Answer": float("nan")}))).reason == "unreadable_answer"


@pytest.mark.parametrize(
    ("formula", "count"),
    [("( 8.0 - 3.0 )", 1), ("8.0", None), ("7+2=9", 1), ("5-8=-3", 1), ("(1+2)*3-4", 3), ("-3 + 5", 1), (None, None)],
)
def test_operators_are_counted_and_signs_are_not(formula: str | None, count: int | None) -> None:
    assert count_operators(formula) == count


@pytest.mark.parametrize("values", [CSQA, HUB_CSQA])
def test_commonsense_qa_reads_the_official_and_the_hub_layout_alike(values: dict[str, Any]) -> None:
    assert commonsense_qa.parse_row(row(values)) == Question(
        id="q1",
        split=Split.TRAIN,
        question="Where are people?",
        answer="B",
        answer_kind=AnswerKind.CHOICE,
        choices=("track", "town"),
    )


@pytest.mark.parametrize("key", ["", None])
def test_hidden_answers_are_named(key: str | None) -> None:
    with pytest.raises(DataError, match="'answerKey', got none: the official CommonsenseQA test set hides") as caught:
        commonsense_qa.parse_row(row({**HUB_CSQA, "answerKey": key}))
    assert "validation (dev) split as test" in str(caught.value.hint)


def test_an_answer_that_is_no_choice_is_told() -> None:
    unusable = as_unusable(commonsense_qa.parse_row(row({**HUB_CSQA, "answerKey": "C"})))
    assert "expected the letter or the text of one of the choices" in str(unusable.error)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"label": ["B", "A"], "text": ["x", "y"]}, r"labels A, B, … in order, or 1, 2, …, got \['B', 'A'\]"),
        ({"label": ["A"], "text": ["x"]}, "expected 2 to 26 choices, got 1"),
        ({"label": ["A", "B"], "text": ["x", ""]}, "expected text in column 'choices', got nothing"),
        ("x, y", "expected a list of choices"),
    ],
)
def test_choices_that_cannot_be_lettered_are_told(choices: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        commonsense_qa.parse_row(row({**HUB_CSQA, "choices": choices}))


def read_asdiv(path: Path, second_answer: str) -> list[Question | Unusable]:
    path.write_text(ASDIV.format(second_answer), encoding="utf-8")
    return [asdiv.parse_row(Row(values, place, Split.TRAIN, 0)) for place, values in asdiv.read_xml(path)]


@pytest.mark.parametrize(
    ("written", "answer"),
    [("1,250 (dollars)", "1250"), ("3.5", "3.5"), (" -2 ", "-2"), (".5", "0.5"), ("3/4 (mile)", "0.75")],
)
def test_asdiv_reads_numbers_with_units(tmp_path: Path, written: str, answer: str) -> None:
    first, second = read_asdiv(tmp_path / "ASDiv.xml", written)
    assert first == Question(
        id="nluds-0001",
        split=Split.TRAIN,
        question="Seven red & two green apples. How many apples?",
        answer="9",
        num_steps=1,
    )
    assert (as_question(second).answer, as_question(second).num_steps) == (answer, None)


@pytest.mark.parametrize("written", ["2:3", "Tom", "3 (apples); 4 (pears)", "12 r 3", "9 apples", "1st"])
def test_asdiv_answers_that_are_no_single_number_are_set_aside(tmp_path: Path, written: str) -> None:
    expected = Unusable("nluds-0002", "answer_not_a_number", None, f"the answer is {written!r}")
    assert read_asdiv(tmp_path / "ASDiv.xml", written)[1] == expected


def test_asdiv_hub_rows_have_no_id_and_are_numbered() -> None:
    values = {"body": "b.", "question": "q?", "solution_type": "s", "answer": "4 (pens)", "formula": "2*2=4"}
    parsed = as_question(asdiv.parse_row(row(values, 5)))
    assert (parsed.id, parsed.question, parsed.answer, parsed.num_steps) == ("asdiv-train-5", "b. q?", "4", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<a><Problem></a>", "line 1, column 15: damaged XML"),
        ("<a/>", "expected <Problem> elements, got none below <a>"),
        ('<!DOCTYPE a [<!ENTITY x "yyyy"><!ENTITY z "&x;&x;">]><a>&z;</a>', "got a DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>', "got a DOCTYPE"),
        (b"<a>\n\xff</a>", "line 2, column 1: damaged XML"),
        ("", "empty file"),
    ],
)
def test_asdiv_xml_is_parsed_safely_and_damage_is_told(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "ASDiv.xml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message) as caught:
        list(asdiv.read_xml(path))
    assert str(path) in caught.value.message


def test_asdiv_problems_need_an_id(tmp_path: Path) -> None:
    path = tmp_path / "ASDiv.xml"
    path.write_text("<a><Problem><Body>b</Body></Problem></a>", encoding="utf-8")
    ((place, values),) = asdiv.read_xml(path)
    with pytest.raises(DataError, match="problem 1: expected text in column 'id', got nothing"):
        asdiv.parse_row(Row(values, place, Split.TRAIN, 0))


def test_columns_follow_the_names_given() -> None:
    names = ColumnsConfig(question="q", answer="a", rationale="why", id="key", num_steps="n")
    values = {"q": "How many?", "a": "1,000.50", "why": ["One.", "Two."], "key": 7, "n": "3"}
    assert columns.parse_row(row(values), names, AnswerKind.NUMBER) == Question(
        id="7",
        split=Split.TRAIN,
        question="How many?",
        answer="1000.5",
        gold_rationales=("One.", "Two."),
        num_steps=3,
    )


@pytest.mark.parametrize(("value", "answer"), [(True, "yes"), (False, "no"), ("No", "no")])
def test_columns_read_truth_values(value: object, answer: str) -> None:
    values = {"question": "Is it?", "answer": value}
    assert as_question(columns.parse_row(row(values), ColumnsConfig(), AnswerKind.YES_NO)).answer == answer
    if isinstance(value, bool):
        assert as_unusable(columns.parse_row(row(values), ColumnsConfig(), AnswerKind.NUMBER)).error is not None


MATHEMATICS = {
    "\\sqrt{51}": "\\sqrt{51}",
    "$2k+2$": "2k+2",
    "\\left(2, \\infty\\right)": "(2, \\infty)",
    "90^\\circ": "90^\\circ",
    "12 \\dfrac{3}{5}": "12 \\frac{3}{5}",
    "√51": "\\sqrt{51}",
}


@pytest.mark.parametrize(("written", "answer"), MATHEMATICS.items())
def test_columns_read_mathematics(written: str, answer: str) -> None:
    values = {"question": "What is it?", "answer": written}
    assert as_question(columns.parse_row(row(values), ColumnsConfig(), AnswerKind.MATH)).answer == answer


@pytest.mark.parametrize(
    "written", ["\\sqrt{51}", "2k+2", "2(2k+1)", "(2, \\infty)", "3\\pi", "1, 2", "x > 5", "1010_2"]
)
def test_mathematics_is_refused_as_a_number_with_the_kind_that_reads_it(written: str) -> None:
    error = as_unusable(
        columns.parse_row(row({"question": "?", "answer": written}), ColumnsConfig(), AnswerKind.NUMBER)
    ).error
    assert error is not None
    assert f"got {written!r}" in error.message
    assert "answer_kind=math" in str(error.hint)


def test_a_word_is_refused_as_a_number_without_that_hint() -> None:
    error = as_unusable(
        columns.parse_row(row({"question": "?", "answer": "red"}), ColumnsConfig(), AnswerKind.NUMBER)
    ).error
    assert error is not None
    assert "math" not in str(error.hint)


@pytest.mark.parametrize("written", ["", "{", "x" * 401])
def test_what_is_no_formula_is_refused_as_mathematics(written: str) -> None:
    values = {"question": "?", "answer": written}
    assert as_unusable(columns.parse_row(row(values), ColumnsConfig(), AnswerKind.MATH)).reason == "unreadable_answer"


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ({"choices": "options"}, {"options": ["red", "blue"]}),
        ({"choices": "options"}, {"options": '["red", "blue"]'}),
        ({"choices": "options"}, {"options": {"label": ["A", "B"], "text": ["red", "blue"]}}),
        ({"choices": ["a", "b"]}, {"a": "red", "b": "blue"}),
    ],
)
def test_columns_read_choices_in_any_layout(names: dict[str, Any], values: dict[str, Any]) -> None:
    written = {"question": "Which?", "answer": "B", **values}
    parsed = as_question(columns.parse_row(row(written), ColumnsConfig(**names), AnswerKind.CHOICE))
    assert (parsed.choices, parsed.answer) == (("red", "blue"), "B")


def test_ids_without_a_column_depend_on_the_text_alone() -> None:
    def id_of(text: str, index: int) -> str:
        values = {"question": text, "answer": "1"}
        return as_question(columns.parse_row(row(values, index), ColumnsConfig(), AnswerKind.NUMBER)).id

    assert id_of("a?", 0) == id_of("a?", 9) != id_of("b?", 0)


@pytest.mark.parametrize("value", ["two", "-1", 2.5, [2], "1_0"])
def test_a_number_of_steps_must_be_whole(value: object) -> None:
    values = {"question": "q?", "answer": "1", "n": value}
    with pytest.raises(DataError, match="expected a whole number of steps in column 'n'"):
        columns.parse_row(row(values), ColumnsConfig(num_steps="n"), AnswerKind.NUMBER)


def test_a_text_answer_must_be_unicode() -> None:
    def parse(answer: str) -> Question | Unusable:
        return columns.parse_row(row({"question": "q?", "answer": answer}), ColumnsConfig(), AnswerKind.TEXT)

    assert as_question(parse("blue")).answer == "blue"
    assert as_unusable(parse("\ud800")).reason == "unreadable_answer"
