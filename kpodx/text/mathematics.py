r"""Answers that are mathematics ("\sqrt{51}", "2k+2", "(2, \infty)"): read as LaTeX, and compared by their meaning.

Reading and the easy comparisons are done here; the rest is Hugging Face's math-verify, in a process of its own
(`kpodx.text.math_process`), because a hostile formula can take all of a processor and a memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

LONGEST_FORMULA = 400
"""Characters of the longest answer that is read as mathematics."""

_UNICODE = str.maketrans(
    {
        **{"π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "°": r"^\circ"},
        **{"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ", "²": "^2", "³": "^3", "∪": r"\cup "},
        **{"½": r"\frac12", "⅓": r"\frac13", "⅔": r"\frac23", "¼": r"\frac14", "¾": r"\frac34", "θ": r"\theta "},
        **dict.fromkeys("−﹣－–", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\t\n\r", " "),
    }
)
_REWRITES = (
    (re.compile(r"√ ?\(([^()]{1,80})\)"), r"\\sqrt{\1}"),
    (re.compile(r"√ ?(\d{1,40}|[a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![a-zA-Z\\])sqrt ?\(([^()]{1,80})\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![a-zA-Z\\])(?:pi|Pi)(?![a-zA-Z])"), r"\\pi "),
    (re.compile(r"(?<![a-zA-Z\\])(?:infinity|inf|oo)(?![a-zA-Z])"), r"\\infty "),
    (re.compile(r"(?<=\S) (?:or|and) (?=\S)|\\text ?\{ ?(?:or|and) ?\}"), ", "),
    (re.compile(r"\\(?:displaystyle|left|right|[bB]igg?[lr]?)(?![a-zA-Z])"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"(?<!\\)\\[!,;: ]|~"), " "),
    (re.compile(r" {2,}"), " "),
)
_PRICE = re.compile(r"\A\\?\$(?=\d[^$]*\Z)")
_BOX = re.compile(r"\\(?:boxed|fbox) ?\{(?P<inside>.*)\}")
_PAIRS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`"))
_FORMULA = re.compile(r"\$\$(.{1,400}?)\$\$|\$([^$]{1,400})\$|\\\((.{1,400}?)\\\)|\\\[(.{1,400}?)\\\]", re.DOTALL)
_JOINED = re.compile(r"\s?(?:,|;|or|and|,\s?and|,\s?or)\s?", re.IGNORECASE)
_SENTENCE_STOP = re.compile(r"[.!?](?=\s|\Z)|\n\s*\n")
# Prose behind a formula in plain text: a word that is neither a function nor a command.
_PROSE = re.compile(
    r"(?<![a-zA-Z\\{])(?!(?:sqrt|sin|cos|tan|cot|sec|csc|log|ln|exp|pi|infinity|inf|mod|max|min|gcd|lcm|or|and)\b)[a-zA-Z]{2,}"
)
_WORDS = re.compile(r"[a-zA-Z][a-zA-Z' -]{3,}")
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf|mbox) ?\{([^{}]*)\}")
_UNIT = re.compile(
    r"(?<=[\d})]) ?(?:\\(?:text(?:bf|it|rm)?|mathrm|mbox) ?\{(?P<text>[^{}]{1,40})\}|(?<= )(?P<word>[a-zA-Z]{2,20}))"
    r"(?:\^\{?\d\}?)?\Z"
)
_INTEGER = re.compile(r"-?\d{1,300}")
_BASE = re.compile(r"\d_\{?(\d{1,3})\}?\Z")


def read_formula(segment: str) -> str | None:
    r"""The formula that the text after an answer marker, or inside `\boxed{}`, states; None if it states none, or half of one.

    >>> read_formula(" $2k+2$ for every k."), read_formula(r" \dfrac{1}{2}."), read_formula(" x + 5 apples.")
    ('2k+2', '\\frac{1}{2}', 'x + 5')
    """
    segment = segment.lstrip(" \n\t:*_")
    formula = _FORMULA.match(segment)
    if formula is not None:
        return tidy_formula(_with_alternatives(segment, formula))
    stop = _SENTENCE_STOP.search(segment)
    sentence = segment[: stop.start()] if stop else segment
    # Words inside \text{} belong to the formula: they are hidden from the search, place by place.
    prose = _PROSE.search(_TEXT.sub(lambda text: "0" * len(text[0]), sentence))
    # Text that begins with a word ("no solution", "Sunday") is the answer as a whole.
    stated = sentence[: prose.start()] if prose and any(map(str.isalnum, sentence[: prose.start()])) else sentence
    return tidy_formula(re.sub(r"\s(?:or|and|a|an)\s*\Z", "", stated.rstrip(" ,;:*_")))


def _with_alternatives(segment: str, formula: re.Match[str]) -> str:
    """The formula that `segment` begins with, and those that "or", "and" or a comma join to it, as one list."""
    stated = [next(filter(None, formula.groups()))]
    joined = _JOINED.match(segment, formula.end())
    following = _FORMULA.match(segment, joined.end()) if joined else None
    while following is not None:
        stated.append(next(filter(None, following.groups())))
        joined = _JOINED.match(segment, following.end())
        following = _FORMULA.match(segment, joined.end()) if joined else None
    return ", ".join(stated)


def tidy_formula(raw: str) -> str | None:
    r"""A formula in plain LaTeX, without "$", `\boxed`, sizes and narrow spaces; None if it is empty, too long or torn.

    >>> tidy_formula(r"$\left(2, \infty\right)$."), tidy_formula("√51"), tidy_formula(r"\frac{1}{"), tidy_formula("")
    ('(2, \\infty)', '\\sqrt{51}', None, None)
    """
    text = raw.strip().strip("\"'“”‘’").rstrip(".,;: ")
    if len(text) > LONGEST_FORMULA:
        return None
    text = _unwrap(_PRICE.sub("", text.translate(_UNICODE).strip()))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip(".,;: ")
    is_whole = text.count("{") == text.count("}") and text.count("$") - text.count("\\$") == 0
    return text if is_whole and any(map(str.isalnum, text)) else None


def _unwrap(text: str) -> str:
    r"""`text` without the marks around it: "$ … $", "\( … \)", "\boxed{ … }"."""
    for _ in range(4):
        box = _BOX.fullmatch(text)
        if box is not None:
            text = box["inside"].strip()
        for opening, closing in _PAIRS:
            is_pair = len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing)
            inside = text[len(opening) : len(text) - len(closing)] if is_pair else ""
            if is_pair and opening not in inside:
                text = inside.strip()
    return text


def equal_formulas(predicted: str, reference: str) -> bool:
    r"""Whether two formulas mean the same; one that cannot be compared within the bounds does not.

    Equal spellings, whole numbers, and words are decided here, everything else by math-verify.

    Raises:
        MissingDependencyError: math-verify has to decide, and it is not installed.

    >>> equal_formulas("2k + 2", "2k+2"), equal_formulas("17", "18"), equal_formulas(r"\text{Sunday}", "sunday")
    (True, False, True)
    """
    decided = _decide(predicted, reference)
    if decided is not None:
        return decided
    from kpodx.text.math_process import compare

    return compare([_without_units(predicted, reference)])[0]


def compare_ahead(pairs: Iterable[tuple[str, str]]) -> None:
    """Let math-verify compare (predicted, reference) pairs in one go, so that `equal_formulas` need not ask for each.

    Raises:
        MissingDependencyError: math-verify has to decide, and it is not installed.
    """
    undecided = [_without_units(*pair) for pair in pairs if _decide(*pair) is None]
    if undecided:
        from kpodx.text.math_process import compare

        compare(undecided)


def _without_units(predicted: str, reference: str) -> tuple[str, str]:
    r"""Both formulas without the unit behind them ("10 \text{ cm}"), unless each has another one."""
    units = [_UNIT.search(text) for text in (predicted, reference)]
    names = {"".join((unit["text"] or unit["word"]).split()).casefold() for unit in units if unit}
    if len(names) != 1:
        return predicted, reference
    bare = [text[: unit.start()] if unit else text for text, unit in zip((predicted, reference), units, strict=True)]
    return bare[0], bare[1]


def _decide(predicted: str, reference: str) -> bool | None:
    """Whether two formulas are equal, as far as that needs no algebra; None if it does."""
    if max(len(predicted), len(reference)) > LONGEST_FORMULA:
        return False
    left, right = _spelling(predicted), _spelling(reference)
    if left == right:
        return True
    if not (left and right):
        return False
    if _INTEGER.fullmatch(left) and _INTEGER.fullmatch(right):
        return Fraction(left) == Fraction(right)
    # A word is not a product of its letters, and a number in base 2 is not the same digits in base 10.
    words = [_WORDS.fullmatch(_TEXT.sub(r"\1", text).strip()) for text in (predicted, reference)]
    bases = [_BASE.search(text) for text in (left, right)]
    if any(words) or (bases[0] is None) != (bases[1] is None):
        return False
    return None


def _spelling(text: str) -> str:
    """A formula's letters and signs, apart from spaces, the case of words, and `\\text{}`."""
    plain = "".join(_TEXT.sub(r"\1", text).split())
    return plain.casefold() if _WORDS.fullmatch(plain) else plain
