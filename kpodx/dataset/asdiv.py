"""ASDiv (Miao et al. 2020): the official XML, and the hub's columns of the same names in lower case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

from kpodx.dataset.nesting import Placed
from kpodx.dataset.readers import require_file
from kpodx.dataset.rows import Row, Unusable, count_operators, read_answer, text_field
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question

_NUMBER_WITH_UNIT = re.compile(r"([-+]?(?:\d[\d,]*+(?:\.\d+)?(?:/\d+)?|\.\d+))\s*+(?:\([^()]*\))?")


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree and refuses document types, where entities that expand without bound are declared."""

    def doctype(self, *_: str | None) -> NoReturn:
        raise DataError(
            "expected plain XML, got a DOCTYPE, which can declare entities that expand without bound.",
            hint="Remove the <!DOCTYPE …> line; the official ASDiv.xml has none.",
        )


def read_xml(path: Path) -> Iterator[Placed]:
    """Yield (place, values) for each <Problem> of ASDiv.xml, columns in lower case with "_" for "-".

    Raises:
        DataError: a missing file, damaged XML with its line, a DOCTYPE, or no problem at all.
    """
    require_file(path)
    try:
        root = ElementTree.parse(path, ElementTree.XMLParser(target=_Builder())).getroot()
    except ElementTree.ParseError as error:
        line, column = error.position
        raise DataError(f"{path}, line {line}, column {column + 1}: damaged XML: {error}.") from error
    except DataError as error:
        raise DataError(f"{path}: {error.message}", hint=error.hint) from error
    problems = list(root.iter("Problem"))
    if not problems:
        raise DataError(f"{path}: expected <Problem> elements, got none below <{root.tag}>.")
    for number, problem in enumerate(problems, start=1):
        values = {child.tag.lower().replace("-", "_"): child.text or "" for child in problem}
        yield f"{path}, problem {number}", {**values, "id": problem.get("ID")}


def parse_row(row: Row) -> Question | Unusable:
    """One ASDiv problem as a question, or Unusable ("answer_not_a_number", no error) for ratios, texts and lists.

    The answer is a number or a fraction with an optional unit in brackets, "9 (apples)". The id is the problem's own;
    the hub's copy has none, and its rows are asdiv-<source split>-<0-based row>.
    """
    question_id = text_field(row, "id") if "id" in row.values else f"asdiv-{row.split.value}-{row.index}"
    written = text_field(row, "answer")
    found = _NUMBER_WITH_UNIT.fullmatch(written)
    if found is None:
        return Unusable(question_id, "answer_not_a_number", None, f"the answer is {written[:80]!r}")
    answer = read_answer(row, question_id, found[1], AnswerKind.NUMBER)
    if isinstance(answer, Unusable):
        return answer
    return Question(
        id=question_id,
        split=row.split,
        question=f"{text_field(row, 'body')} {text_field(row, 'question')}",
        answer=answer,
        num_steps=count_operators(row.values.get("formula")),
    )
