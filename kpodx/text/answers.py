"""Reading the final answer out of generated text, and comparing it with the reference.

The answer is looked for after the last explicit marker ("####", "the answer is", "Answer:", \\boxed{…}), then in the
last sentence that opens with a concluding word ("Therefore, …"), then at the end of the text. Nothing here raises on
any text, and all of it takes time linear in the text's length.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from kpodx.schema import AnswerKind
from kpodx.text.choices import last_choice, names_choice, read_choice
from kpodx.text.completions import clean_completion, find_answer_markers, remove_calculator_marks
from kpodx.text.lexemes import plain_text
from kpodx.text.mathematics import equal_formulas, read_formula, tidy_formula
from kpodx.text.number_words import NUMBER_WORDS
from kpodx.text.numbers import Quantity, find_quantities, format_number
from kpodx.text.steps import step_texts
from kpodx.text.symbolic import is_symbolic, states_formula

RELATIVE_TOLERANCE = Fraction(1, 10_000)
"""How far, relative to the reference, a number may be off where one of the two is a repeating or long decimal."""
LONG_DECIMALS = 5
"""From this many decimals on, a written decimal counts as a rounded one."""

_WINDOW = 600  # characters after a marker that are read
_LONGEST_SENTENCE = 4000  # characters, counted from its end, that are read of a sentence
_MAX_MARKERS = 16
_NO_ANSWER = re.compile(
    r"\W{0,4}(?:\w{1,12}\s){0,2}(?:unknown|undefined|unclear|cannot|can't|can not|could not|impossible|insufficient"
    r"|not (?:enough|possible|known|given|clear|determin\w{2,6}))\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\s{0,3}not\b", re.IGNORECASE)
_CONCLUSION = re.compile(
    r"\W{0,6}(?:therefore|thus|hence|consequently|in conclusion|in summary|finally|so)\b", re.IGNORECASE
)
_RESTATED = re.compile(r",\s{0,3}or\b")
_ALTERNATIVE = re.compile(
    r"\s{0,3}(?:(?:[^\W\d]{1,20}\s{1,3})?(?:or|to)|and|&)\s{1,3}(?:the |about )?\Z", re.IGNORECASE
)
_YES_NO = re.compile(r"(?P<negated>\bnot )?\b(?P<word>yes|no|true|false)\b(?P<after>\W?)", re.IGNORECASE)
_MAY_HOLD_NUMBER = re.compile(r"[\d½⅓⅔¼¾]|\b(?:" + "|".join(sorted(NUMBER_WORDS)) + ")", re.IGNORECASE)
_YES = ("yes", "true")
_PLAIN_INTEGER = re.compile(r"\s{0,3}\$?(0|-?[1-9][0-9]{0,14})\.?\s{0,3}")
"""An integer alone, as most answers are: it needs no further reading."""


def extract_answer(text: str, kind: AnswerKind, choices: Sequence[str] = ()) -> str | None:
    """The final answer of a generated text in canonical form, or None where none can be read.

    Numbers: the value after the last marker, else of the last "Therefore, …" sentence, else the last number; sums are
    worked out, a percentage keeps its figure (50% is 50), a range or two alternatives are None. An answer that is
    announced but cannot be read ("5 / 0", a sum cut short, "unknown") is None, whatever numbers come before it.

    Args:
        text: what the model wrote, run-on questions included.
        kind: how the answer is read.
        choices: the texts of options A, B, … of a multiple-choice question.

    >>> extract_answer("She has 16 - 3 = 13 eggs. The answer is $1,300.", AnswerKind.NUMBER)
    '1300'
    >>> extract_answer("So the answer is (c) sea.", AnswerKind.CHOICE, ["pond", "lake", "sea"])
    'C'
    """
    text = remove_calculator_marks(clean_completion(text))
    for segment in _announced(text):
        if kind is not AnswerKind.YES_NO and _NEGATED.match(segment):
            continue
        if _NO_ANSWER.match(segment):
            return None
        found, answer = _read(segment, kind, choices)
        if found:
            return answer
    return _unannounced(text, kind, choices)


def canonical_answer(raw: str, kind: AnswerKind, choices: Sequence[str] = ()) -> str | None:
    """The canonical form of a reference answer, or None where it is no answer of this kind.

    A plain decimal, or "p/q" where the decimals never end; the upper-case letter; "yes" or "no"; text without quotes
    and closing punctuation; a formula in LaTeX. Mathematics that is not one number ("2k+2") is no number.

    >>> canonical_answer("1,200", AnswerKind.NUMBER), canonical_answer("84.0", AnswerKind.NUMBER)
    ('1200', '84')
    >>> canonical_answer("(c)", AnswerKind.CHOICE), canonical_answer("Yes.", AnswerKind.YES_NO)
    ('C', 'yes')
    """
    if kind is AnswerKind.MATH:
        return tidy_formula(raw)
    if kind is AnswerKind.NUMBER and is_symbolic(raw):
        return None
    return _read(raw, kind, choices)[1]


def answers_equal(predicted: str | None, reference: str, kind: AnswerKind) -> bool:
    """Whether an extracted answer is the reference; None never is.

    Numbers are compared exactly, except that a repeating fraction or a decimal of `LONG_DECIMALS` places or more may
    differ by `RELATIVE_TOLERANCE` ("0.3333" is 1/3, "0.33" is not). Texts are compared without regard to case,
    mathematics by `equal_formulas`.

    Raises:
        MissingDependencyError: mathematics has to be compared, and the `math` extra is not installed.

    >>> answers_equal("0.3333", "1/3", AnswerKind.NUMBER), answers_equal("18.01", "18", AnswerKind.NUMBER)
    (True, False)
    """
    if predicted is None:
        return False
    if kind is AnswerKind.MATH:
        return equal_formulas(predicted, reference)
    if kind is not AnswerKind.NUMBER:
        return predicted.strip().casefold() == reference.strip().casefold()
    left, right = (canonical_answer(text, kind) for text in (predicted, reference))
    if left is None or right is None or left == right:
        return left is not None and left == right
    if not (_is_rounded(left) or _is_rounded(right)):
        return False
    return abs(Fraction(left) - Fraction(right)) <= RELATIVE_TOLERANCE * abs(Fraction(right))


def _is_rounded(canonical: str) -> bool:
    return "/" in canonical or len(canonical.partition(".")[2]) >= LONG_DECIMALS


def _announced(text: str) -> Iterator[str]:
    """What follows each explicit marker, the last marker first, up to the next one."""
    markers = find_answer_markers(text)
    stop = len(text)
    for marker in reversed(markers[-_MAX_MARKERS:]):
        segment = text[marker.stop : min(stop, marker.stop + _WINDOW)]
        yield _inside_braces(segment) if marker.boxed else _without_bullet(segment)
        stop = marker.start


def _inside_braces(segment: str) -> str:
    """`segment` up to the brace that closes the one opened before it."""
    depth = 1
    for at, character in enumerate(segment):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return segment[:at]
    return segment


def _without_bullet(segment: str) -> str:
    """`segment` without a list bullet on the line after the marker: in "Answer:\\n- 3" the dash is no minus."""
    return re.sub(r"\A[ \t]{0,8}\n\s{0,8}[-*•] ", "", segment)


def _read(segment: str, kind: AnswerKind, choices: Sequence[str]) -> tuple[bool, str | None]:
    """(whether `segment` states an answer of this kind at all, its canonical form or None if it cannot be read)."""
    if kind is AnswerKind.NUMBER:
        plain = _PLAIN_INTEGER.fullmatch(segment)
        if plain:
            return True, plain[1]
        return (True, None) if states_formula(segment) else _number_after_marker(segment)
    if kind is AnswerKind.MATH:
        formula = read_formula(segment)
        return formula is not None, formula
    sentence = next((step for step in step_texts(segment.lstrip()) if any(map(str.isalnum, step))), "")
    if kind is AnswerKind.CHOICE:
        found = read_choice(sentence, choices)
        return found is not None or names_choice(sentence, choices), found
    if kind is AnswerKind.YES_NO:
        match = _YES_NO.search(sentence)
        return match is not None, _yes_or_no(match) if match else None
    answer = " ".join(sentence.split()).strip(" \"'“”‘’*_`.!,;:")
    return bool(answer), answer or None


def _unannounced(text: str, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """The answer of a text without any marker that can be read."""
    if kind is AnswerKind.NUMBER:
        return _concluding_number(text)
    if kind is AnswerKind.CHOICE:
        return last_choice(text, choices)
    if kind is AnswerKind.YES_NO:
        # "no" is often a determiner ("there is no way"): it answers only at the start or before a pause.
        stated = [
            m for m in _YES_NO.finditer(text) if m.start() == 0 or m["after"] in (*".,!;:)\"'*\n",) or not m["after"]
        ]
        return _yes_or_no(stated[-1]) if stated else None
    return None


def _yes_or_no(match: re.Match[str]) -> str:
    return "yes" if (match["word"].lower() in _YES) != (match["negated"] is not None) else "no"


def _canonical_number(value: Fraction | None) -> str | None:
    return None if value is None else format_number(value)


def _number_after_marker(segment: str) -> tuple[bool, str | None]:
    plain = plain_text(segment[:_WINDOW]).strip()
    for index, sentence in enumerate(step_texts(plain)):
        quantities = find_quantities(sentence, after_marker=index == 0)
        if quantities:
            return True, _canonical_number(_stated_number(sentence, quantities))
    return False, None


def _stated_number(sentence: str, quantities: Sequence[Quantity]) -> Fraction | None:
    """The number that a sentence after a marker gives: its first, unless it is restated (", or 8 in all") or told in a
    clause of its own ("that after all of this Tom has 5"); None for two numbers ("2 or 3", "5 to 6", "3 and 4")."""
    first = quantities[0]
    if len(re.findall(r"\w+", sentence[: first.start])) > 5:
        return _last_number(quantities)
    for before, after in itertools.pairwise(quantities):
        between = sentence[before.stop : after.start]
        if _RESTATED.search(between):
            return after.value
        if before is first and _ALTERNATIVE.match(between) and before.value != after.value:
            return None
    return first.value


def _last_number(quantities: Sequence[Quantity]) -> Fraction | None:
    """The number that a sentence ends up with: the result of its last sum, else its last figure, else number word."""
    equations = [quantity for quantity in quantities if quantity.is_equation]
    figures = [quantity for quantity in quantities if not quantity.from_words]
    return (equations or figures or quantities)[-1].value


def _concluding_number(text: str) -> str | None:
    """The number of the last concluding sentence, else of the last sentence with figures, else with number words.

    "So" and "finally" open middle steps as often as conclusions: they count only in the last sentence with a number.
    """
    figures: Fraction | None = None
    words: Fraction | None = None
    has_figures = has_words = False
    for sentence in reversed(step_texts(text)):
        tail = sentence[-_LONGEST_SENTENCE:]
        quantities = find_quantities(plain_text(tail)) if _MAY_HOLD_NUMBER.search(tail) else []
        if not quantities:
            continue
        conclusion = _CONCLUSION.match(sentence)
        if conclusion and not conclusion[0].lower().endswith(("so", "finally")):
            return _canonical_number(_last_number(quantities))
        if not has_figures and not all(quantity.from_words for quantity in quantities):
            figures, has_figures = _last_number(quantities), True
        elif not has_words:
            words, has_words = _last_number(quantities), True
    return _canonical_number(figures if has_figures else words)
