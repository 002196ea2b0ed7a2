"""Reading the final answer out of generated text, and comparing it with the reference.

An answer that the text announces ("####", "the answer is", "Answer:", \\boxed{…}, and the same in other languages) is read
behind the last announcement, and nowhere else. Only a text without an announcement is read by its last sentence. Nothing here
raises on any text, and all of it takes time linear in the text's length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from kpodx.schema import AnswerKind
from kpodx.text.announcements import find_answer_markers, is_checked
from kpodx.text.asked_units import AskedUnit, find_asked_unit
from kpodx.text.choices import concluding_choice, is_option_alone, names_choice, read_choice
from kpodx.text.completions import clean_completion, remove_calculator_marks
from kpodx.text.cues import CJK, FULL_WIDTH, load_cues
from kpodx.text.mathematics import equal_formulas, read_formula, tidy_formula
from kpodx.text.number_answers import concluding_number, count_words, number_after_marker
from kpodx.text.numbers import format_number
from kpodx.text.retractions import takes_back
from kpodx.text.sentences import split_sentences
from kpodx.text.symbolic import is_symbolic, states_formula
from kpodx.text.yes_no import concluding_yes_or_no, read_yes_or_no

AnswerSource = Literal["announced", "stated", "guessed"]

RELATIVE_TOLERANCE = Fraction(1, 10_000)
"""How far, relative to the reference, a number may be off where one of the two is a repeating or long decimal."""
LONG_DECIMALS = 5
"""From this many decimals on, a written decimal counts as a rounded one."""

_WINDOW = 600  # Characters behind an announcement that are read.
_MAX_MARKERS = 16
_LONGEST_ANSWER = 6  # Words; a longer sentence behind "Answer:" begins a solution if more sentences follow.
_LONGEST_VALUE = 2  # Words; a heading "Lösung:" is above a solution if its first sentence is longer.
_SOLUTION = re.compile(r"\b(?:lösung|solución)\W{0,6}\Z", re.IGNORECASE)
_MIN_ENGLISH_WORDS = 2
_LONGEST_REPLY = 3  # Words of an answer alone.
_VALUE_FIRST = re.compile(r"[^\w\s]{0,6}\s{0,3}(?:[-−]?\d|[A-Z]\b|(?i:yes|no|true|false)\b)")
# Without a period behind it, since "1." is the number of a step.
_VALUE_ALONE = re.compile(
    r"[*_\s]{0,4}(?:(?i:yes|no|true|false)|[-−]?[$€£]?\d[\d,]{0,20}(?:\.\d{1,10})?%?(?: [^\W\d]{1,20})?)[*_\s]{0,4}"
)
_NEGATED = re.compile(r"\s{0,3}not\b", re.IGNORECASE)
_PLAIN_INTEGER = re.compile(r"\s{0,3}\$?(0|-?[1-9][0-9]{0,14})\.?\s{0,3}")
"""An integer alone, as most answers are: it needs no further reading."""
_CJK = re.compile(f"[{CJK}]")
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:\.\d{3}){1,6}(?![\d.])")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(0(?=,)|\d{1,18}(?=,(?!\d{3}(?!\d)))),(\d{1,18})(?![\d.,]\d)")


@dataclass(frozen=True)
class AnswerReading:
    """The final answer of a text in canonical form, and how the text gives it; None for both if none can be read.

    Attributes:
        answer: the answer.
        source: "announced" behind an explicit announcement, "stated" by a last sentence that leaves no doubt, and "guessed" for
            anything weaker.
    """

    answer: str | None
    source: AnswerSource | None = None


UNREAD = AnswerReading(None)

_SUPPOSED = re.compile(r"\b(?:if|had|suppose|supposing)\b", re.IGNORECASE)
_WRONG = re.compile(r"\b(?:wrong|incorrect|mistaken|naive)\s{1,3}(?:final\s)?answer\b", re.IGNORECASE)


def extract_answer(text: str, kind: AnswerKind, choices: Sequence[str] = (), question: str = "") -> str | None:
    """Return the final answer of a generated text in canonical form, or None if none can be read.

    Sums are worked out, a percentage keeps its figure (50% is 50), and a range or two alternatives are None. So is an answer
    that is announced but cannot be read ("5 / 0", "unknown", a text that ends there), whatever comes before it.

    Args:
        text: what the model wrote, run-on questions included.
        kind: how the answer is read.
        choices: the texts of options A, B, … of a multiple-choice question.
        question: the question, which may decide between two numbers by the unit it asks for.

    >>> extract_answer("She has 16 - 3 = 13 eggs. The answer is $1,300.", AnswerKind.NUMBER)
    '1300'
    >>> extract_answer("So the answer is (c) sea.", AnswerKind.CHOICE, ["pond", "lake", "sea"])
    'C'
    >>> extract_answer("17 - 2 = 15 sacks were left. The answer is that it depends.", AnswerKind.NUMBER) is None
    True
    """
    return read_answer(text, kind, choices, question).answer


def read_answer(text: str, kind: AnswerKind, choices: Sequence[str] = (), question: str = "") -> AnswerReading:
    """Return what `extract_answer` returns, and how the text gives it.

    >>> read_answer("Die Antwort lautet 18.", AnswerKind.NUMBER)
    AnswerReading(answer='18', source='announced')
    """
    text = remove_calculator_marks(clean_completion(text, question)).translate(FULL_WIDTH)
    return _read_text(text, kind, choices, find_asked_unit(question) if question else None)


def read_reply(text: str, kind: AnswerKind, choices: Sequence[str] = (), question: str = "") -> AnswerReading:
    """Return the answer of a reply to "Therefore, the answer is": the answer alone, or a completion of its own.

    >>> read_reply(" (c) sea.", AnswerKind.CHOICE, ["pond", "lake", "sea"])
    AnswerReading(answer='C', source='announced')
    """
    cleaned = remove_calculator_marks(clean_completion(text, question)).translate(FULL_WIDTH)
    unit = find_asked_unit(question) if question else None
    if find_answer_markers(cleaned) or _is_reasoning(cleaned):
        return _read_text(cleaned, kind, choices, unit)
    return _as_announced(_read(cleaned[:_WINDOW], kind, choices, unit)[1])


def _is_reasoning(reply: str) -> bool:
    """Return whether a reply has several sentences, and the first is longer than an answer and does not begin with one."""
    sentences = [sentence for sentence in split_sentences(reply) if any(map(str.isalnum, sentence))]
    return len(sentences) > 1 and count_words(sentences[0]) > _LONGEST_REPLY and not _VALUE_FIRST.match(sentences[0])


def _as_announced(answer: str | None) -> AnswerReading:
    return UNREAD if answer is None else AnswerReading(answer, "announced")


def _read_text(text: str, kind: AnswerKind, choices: Sequence[str], unit: AskedUnit | None) -> AnswerReading:
    """Return the answer of a cleaned text: of its last announcement that gives one, but never of anything else behind one."""
    is_announced = is_taken_back = False
    for segment, following, is_label in _announced(text):
        is_negated = kind is not AnswerKind.YES_NO and _NEGATED.match(segment) is not None
        if is_negated and not load_cues().refusal.match(segment.lstrip()):
            continue
        found, answer = _read(segment, kind, choices, unit)
        if kind is AnswerKind.TEXT and answer is not None and load_cues().refusal.match(answer):
            return UNREAD
        # Text that retracts its answer announces none, and the right answer may stand nowhere in it.
        is_taken_back = is_taken_back or takes_back(following, answer if found else None, kind, choices)
        if found or not re.search(r"\w", segment):
            return UNREAD if is_taken_back else _as_announced(answer)
        # The sentence may describe the answer that an earlier one gives; a remark about it announces nothing.
        is_remark = load_cues().comment.match(segment) is not None
        is_announced |= not (is_remark or (is_label and kind is AnswerKind.NUMBER and _has_more_sentences(segment)))
    return UNREAD if is_announced else _unannounced(text, kind, choices, unit)


def canonical_answer(raw: str, kind: AnswerKind, choices: Sequence[str] = ()) -> str | None:
    """Return the canonical form of a reference answer, or None if it is not an answer of this kind.

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
    return _read(raw, kind, choices, None)[1]


def answers_equal(predicted: str | None, reference: str, kind: AnswerKind) -> bool:
    """Return whether an extracted answer is the reference; None never is.

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


class _Announced(NamedTuple):
    """What follows an announcement.

    Attributes:
        segment: what is read of it.
        following: all of it up to the next announcement.
        is_label: whether the announcement is one with a colon.
    """

    segment: str
    following: str
    is_label: bool


def _announced(text: str) -> Iterator[_Announced]:
    """Yield what follows each announcement up to the next one, the last announcement first."""
    markers = find_answer_markers(text)
    stop = len(text)
    languages = load_cues().languages
    has_commas = any(languages[marker.language].decimal_comma for marker in markers if marker.language)
    for number, marker in reversed(list(enumerate(markers))[-_MAX_MARKERS:]):
        if number > 0 and _is_other_answer(text, marker.start, marker.stop):
            # "a common wrong answer is 96", "if …, the answer would be C": the announcement before it counts.
            stop = marker.start
            continue
        following = text[marker.stop : min(stop, marker.stop + _WINDOW)]
        is_label = _is_label(text[marker.start : marker.stop])
        if not (is_label and _heads_reasoning(text[marker.start : marker.stop], following)):
            segment = _inside_braces(following) if marker.boxed else _without_bullet(following)
            segment = _with_decimal_points(segment) if has_commas else segment
            yield _Announced(segment, text[marker.stop : stop], is_label)
        stop = marker.start


def _is_other_answer(text: str, start: int, stop: int) -> bool:
    """Return whether the announcement at [start, stop) is about another answer than that of the question."""
    sentence = max(text.rfind(mark, 0, start) for mark in (".", "!", "?", "\n")) + 1
    before = text[max(sentence, start - 200) : start]
    is_supposed = _SUPPOSED.search(before) is not None and text[start:stop].lower().rstrip().endswith("would be")
    return is_supposed or is_checked(before) or _WRONG.search(before + text[start:stop]) is not None


def _is_label(marker: str) -> bool:
    return marker.rstrip(" *_").endswith((":", "："))


def _heads_reasoning(label: str, following: str) -> bool:
    """Return whether a label is the heading of a whole solution: of several sentences, the first a long one."""
    sentences = _full_sentences(following)
    if len(sentences) < 2 or "final" in label.lower():
        return False
    longest = _LONGEST_VALUE if _SOLUTION.search(label) else _LONGEST_ANSWER
    return count_words(sentences[0]) > longest


def _has_more_sentences(segment: str) -> bool:
    """Return whether a label whose first sentence gives no number is above more: it heads a solution then."""
    return len(_full_sentences(segment)) > 1


def _full_sentences(text: str) -> list[str]:
    return [sentence for sentence in split_sentences(text) if any(map(str.isalnum, sentence))]


def _inside_braces(segment: str) -> str:
    """Return `segment` up to the brace that closes the one opened before it."""
    depth = 1
    for at, character in enumerate(segment):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return segment[:at]
    return segment


def _without_bullet(segment: str) -> str:
    """Return `segment` without a list bullet on the line after the marker: in "Answer:\\n- 3" the dash is not a minus."""
    return re.sub(r"\A[ \t]{0,8}\n\s{0,8}[-*•] ", "", segment)


def _with_decimal_points(segment: str) -> str:
    """Return `segment` with "1.200,50" written as "1200.50"; "1,200" stays as it is, since it is either of two numbers.

    >>> _with_decimal_points("3,5 Liter für 1.200 Euro")
    '3.5 Liter für 1200 Euro'
    """
    segment = _GROUPED.sub(lambda match: match[0].replace(".", ""), segment)
    return _DECIMAL_COMMA.sub(r"\1.\2", segment)


def _read(segment: str, kind: AnswerKind, choices: Sequence[str], unit: AskedUnit | None) -> tuple[bool, str | None]:
    """Return whether `segment` states an answer of this kind at all, and its canonical form or None if it cannot be read."""
    if kind is AnswerKind.NUMBER:
        plain = _PLAIN_INTEGER.fullmatch(segment)
        if plain:
            return True, plain[1]
        return (True, None) if states_formula(segment) else _number_after_marker(segment, unit)
    if kind is AnswerKind.MATH:
        formula = read_formula(segment)
        return formula is not None, formula
    sentence = next((step for step in split_sentences(segment.lstrip()) if any(map(str.isalnum, step))), "")
    if kind is AnswerKind.CHOICE:
        if _is_refusal(sentence, choices):
            return True, None
        chosen = read_choice(sentence, choices)
        return chosen is not None or names_choice(sentence, choices), chosen
    if kind is AnswerKind.YES_NO:
        return read_yes_or_no(sentence)
    answer = " ".join(sentence.split()).strip(" \"'“”„«»‘’*_`.!,;:。，；：！")
    return bool(answer), answer or None


def _is_refusal(sentence: str, choices: Sequence[str]) -> bool:
    """Return whether `sentence` begins by saying that there is no answer, in words that are not an option's."""
    refusal = load_cues().refusal
    is_refusal = refusal.match(sentence.lstrip(" \n([*")) is not None
    return is_refusal and not any(map(refusal.search, choices))


def _number_after_marker(segment: str, unit: AskedUnit | None = None) -> tuple[bool, str | None]:
    reading = number_after_marker(segment[:_WINDOW], unit)
    return reading.is_found, _canonical_number(reading.value)


def _canonical_number(value: Fraction | None) -> str | None:
    return None if value is None else format_number(value)


def _unannounced(text: str, kind: AnswerKind, choices: Sequence[str], unit: AskedUnit | None) -> AnswerReading:
    """Return the answer of a text without any announcement; a guess only if the text is English."""
    first = _first_line_answer(text, kind, choices)
    if first is not None:
        return AnswerReading(first, "stated")
    sentences = split_sentences(text)
    last = next((sentence for sentence in reversed(sentences) if any(map(str.isalnum, sentence))), "")

    answer, is_clear, needs_no_words = _conclude(text, sentences, kind, choices, unit)
    is_clear = is_clear and not load_cues().refusal.search(last)
    is_understood = needs_no_words or _is_concluded(last) or _is_alone(text, choices)

    if answer is None or not ((is_clear and is_understood) or _is_english(text)):
        return UNREAD
    return AnswerReading(answer, "stated" if is_clear else "guessed")


def _conclude(
    text: str, sentences: Sequence[str], kind: AnswerKind, choices: Sequence[str], unit: AskedUnit | None
) -> tuple[str | None, bool, bool]:
    """Return what a text ends up with, whether it leaves no doubt, and whether that is so in a language without cues, too."""
    if kind is AnswerKind.NUMBER:
        number = concluding_number(sentences, unit)
        return _canonical_number(number.value), number.is_clear, number.is_plain or _CJK.search(text) is not None
    if kind is AnswerKind.CHOICE:
        choice = concluding_choice(text, sentences, choices)
        return choice.letter, choice.is_clear, False
    if kind is AnswerKind.YES_NO:
        return *concluding_yes_or_no(text), True
    return None, False, False


def _first_line_answer(text: str, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """Return the answer that stands alone on the first of several lines, before its explanation."""
    line, _, rest = text.partition("\n")
    if not rest.strip():
        return None
    if kind is AnswerKind.CHOICE:
        return read_choice(line, choices) if is_option_alone(line, choices) else None
    return _read(line, kind, choices, None)[1] if _VALUE_ALONE.fullmatch(line) else None


def _is_concluded(last: str) -> bool:
    """Return whether a last sentence is a sum, or opens as a conclusion does in any language with cues."""
    return load_cues().conclusion.match(last) is not None or not re.search(r"[^\W\d_]", last)


def _is_english(text: str) -> bool:
    """Return whether a text holds common words of English, and more of them than of other languages."""
    cues = load_cues()
    words = re.findall(r"[^\W\d_]+", text.lower())
    num_english = sum(word in cues.english for word in words)
    return num_english >= _MIN_ENGLISH_WORDS and num_english > sum(word in cues.foreign for word in words)


def _is_alone(text: str, choices: Sequence[str]) -> bool:
    """Return whether a text is nothing but its answer: "18", "(B)", "B. the sea", "Yes.", "2 + 2 = 4"."""
    return len(re.findall(r"[^\W\d_]+", text)) <= 1 or is_option_alone(text, choices)
