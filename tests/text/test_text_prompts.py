"""What the student reads and writes, letter by letter: a change would make trained students read another prompt."""

from __future__ import annotations

import pytest

from kpodx.schema import AnswerKind, Question, Split
from kpodx.text.answers import extract_answer
from kpodx.text.prompts import answer_sentence, format_choices, student_prompt


def test_the_prompt_of_a_number_question() -> None:
    question = Question("q", Split.TRAIN, "How many?", "5")
    assert student_prompt(question) == "Q: How many? A: Let's think step by step."


def test_the_prompt_of_a_choice_question() -> None:
    question = Question("q", Split.TRAIN, "Where?", "B", AnswerKind.CHOICE, ("bank", "mall"))
    assert student_prompt(question) == ("Q: Where? Answer choices: (A) bank (B) mall A: Let's think step by step.")
    assert format_choices("vwxyz") == "Answer choices: (A) v (B) w (C) x (D) y (E) z"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("18", AnswerKind.NUMBER),
        ("-3.5", AnswerKind.NUMBER),
        ("1200", AnswerKind.NUMBER),
        ("0.05", AnswerKind.NUMBER),
        ("B", AnswerKind.CHOICE),
        ("yes", AnswerKind.YES_NO),
        ("no", AnswerKind.YES_NO),
        ("2k+2", AnswerKind.MATH),
        ("(2, \\infty)", AnswerKind.MATH),
        ("12 \\frac{3}{5}", AnswerKind.MATH),
        ("x=2, x=3", AnswerKind.MATH),
        ("\\text{no solution}", AnswerKind.MATH),
        ("\\begin{pmatrix}1 \\\\ 2\\end{pmatrix}", AnswerKind.MATH),
        ("1.5k", AnswerKind.MATH),
    ],
)
def test_the_answer_sentence_can_be_read_back(answer: str, kind: AnswerKind) -> None:
    choices = ("bank", "mall") if kind is AnswerKind.CHOICE else ()
    assert extract_answer(f"So 2 + 3 = 5. {answer_sentence(answer)}", kind, choices) == answer
