"""Cutting a text into words, figures and signs: LaTeX and markdown made plain, number words made numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from kpodx.text.cues import CJK, FULL_WIDTH
from kpodx.text.expressions import Token
from kpodx.text.number_words import SCALES, read_number_words

MAX_DIGITS = 100
CURRENCIES = "$€£¥₹"
UNREADABLE = Token("unreadable")

_CHARACTERS = FULL_WIDTH | str.maketrans(
    {
        **dict.fromkeys("−﹣－", "-"),
        **dict.fromkeys("×·⋅∙∗", "*"),
        **dict.fromkeys("÷⁄∕", "/"),
        **dict.fromkeys("≈≃＝", "="),
        "、": ", ",
        **dict.fromkeys("\u00a0\u2009\u202f\u2007\u200a\t", " "),
        **{"½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4", "²": "^2", "³": "^3"},
        **{"`": " ", "°": " degrees "},
    }
)
# LaTeX and markdown to plain signs, in this order; every gap is bounded.
_REWRITES = (
    # "\frac{3}{4}", "\frac34" and "12 \frac{3}{5}", with one space before it, as in a mixed number.
    (
        re.compile(r" ?\\[dtc]?frac ?(?:\{ ?(\d{1,40}) ?\}|(\d)) ?(?:\{ ?(\d{1,40}) ?\}|(\d))"),
        r" \1\2/\3\4",
    ),
    (re.compile(r"\^ ?(?:\{ ?\\circ ?\}|\\circ(?![a-zA-Z]))|\^?\\degree(?![a-zA-Z])"), ""),
    (re.compile(r"\\[dtc]?frac ?\{([^{}]{1,80})\} ?\{([^{}]{1,80})\}"), r" ((\1)/(\2))"),
    (re.compile(r"\\[dtc]?frac ?(\d) ?(\d)"), r" \1/\2"),
    (re.compile(r"\^ ?\{? ?\\circ ?\}?"), " degrees "),
    (re.compile(r"\\sqrt(?![a-zA-Z])"), "√"),
    (re.compile(r"\\pi(?![a-zA-Z])"), "π"),
    (re.compile(rf"(?<=[{CJK}])(?=[\d.$€£¥₹-])|(?<=\d)(?=[{CJK}])"), " "),
    (re.compile(r"\\(?:times|cdot|ast)(?![a-zA-Z])"), " * "),
    (re.compile(r"\\div(?![a-zA-Z])"), " / "),
    (re.compile(r"\\approx(?![a-zA-Z])"), " = "),
    (re.compile(r"\\\\(?=[\s&]|\Z)|&(?=\s?=)"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\!"), ""),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\[()\[\],;: ]|\\[a-zA-Z]{1,20}"), " "),
    (re.compile(r"[{}]"), ""),
    (re.compile(r"(?<=[\d)])\*\*(?=[\d(])"), "^"),
    (re.compile(r"\*\*|__"), ""),
    (re.compile(r"(?<=[\d)]) ?[xX] ?(?=[\d($.])"), " * "),
    (re.compile(r"(?<![\w)%])–(?=[\d$.])"), "-"),
)
_LEXEME = re.compile(
    r"""
    (?P<clock>(?<![\w.])\d{1,9}(?::\d{1,9})+)
  | (?P<range>(?<![\w.+*/^=(-])(?P<low>\d{1,9}(?:\.\d{1,9})?)(?P<dash>[-–—]|[ ][–—][ ])(?P<high>\d{1,9}(?:\.\d{1,9})?)
      (?!\w|\.\d|[ ]?[-+*/^=]))
  | (?P<mixed>(?<![\w.,/])(?P<whole>\d{1,9})(?:[ ]{1,2}|[ ]and[ ])(?P<top>[1-9]\d{0,8})/(?P<bottom>[1-9]\d{0,8})(?![\d/]))
  | (?P<number>(?<!\w)(?:
        \d{1,3}(?:,\d{2,3}){0,8},\d{3}(?!\d)(?:\.\d+)?
      | \d{1,3}(?:[ ]\d{3}){1,8}(?![\d,/])(?:\.\d+)?
      | \d+(?:\.\d+)?
      | (?<!\.)\.\d+
    )(?:[eE][+-]?\d{1,3}(?!\w))?)
  | (?P<word>[^\W\d_]+(?:-[^\W\d_]+){0,4})
  | (?P<sign>\S)
    """,
    re.VERBOSE,
)
_CJK_SCALES = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_WHOLE_MONEY = frozenset(("dollar", "dollars", "euro", "euros", "pound", "pounds", "buck", "bucks", "dólares", "pesos"))
_CENTS = frozenset(("cent", "cents", "pence", "penny", "pennies", "céntimos", "centavos"))
# Before "one" it is a pronoun: "each one gets 5".
_BEFORE_PRONOUN = frozenset(("each", "every", "this", "that", "which", "no", "any", "the", "other", "another", "only"))


class Lexeme(NamedTuple):
    """A piece of text at [start, stop): `kind` is "number", "word", or the sign itself."""

    kind: str
    start: int
    stop: int
    text: str
    token: Token = UNREADABLE
    from_words: bool = False


def plain_text(text: str) -> str:
    """`text` with LaTeX, markdown and typographic signs written as plain ones.

    >>> plain_text("\\\\frac{3}{4} × −2")
    ' 3/4 * -2'
    """
    text = text.translate(_CHARACTERS)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


def read_lexemes(plain: str) -> list[Lexeme]:
    """The words, numbers and signs of a plain text, in order; spaces are left out."""
    lexemes = [lexeme for match in _LEXEME.finditer(plain) for lexeme in _lexemes(match)]
    return _merge_signs(_merge_money(_merge_words(lexemes)))


def _lexemes(match: re.Match[str]) -> list[Lexeme]:
    """The lexemes of one match: three for a difference written as a range ("84-2"), one for everything else."""
    start, stop, text = match.start(), match.end(), match[0]
    if match["word"] is not None:
        return [Lexeme("word", start, stop, text)]
    if match["sign"] is not None:
        return [Lexeme(text, start, stop, text)]
    if match["range"] is not None and Fraction(match["low"]) > Fraction(match["high"]):
        pieces = (("number", "low"), ("-", "dash"), ("number", "high"))
        return [
            Lexeme(kind, *match.span(name), match[name], _figure(match[name]) if kind == "number" else UNREADABLE)
            for kind, name in pieces
        ]
    token = UNREADABLE
    if match["number"] is not None:
        token = _figure(text)
    elif match["clock"] is not None and re.fullmatch(r"\d{1,2}:00", text):
        token = Token("number", Fraction(text[:-3]))
    elif match["mixed"] is not None and int(match["top"]) < int(match["bottom"]):
        token = Token("number", int(match["whole"]) + Fraction(int(match["top"]), int(match["bottom"])))
    return [Lexeme("number", start, stop, text, token)]


def _figure(text: str) -> Token:
    digits = text.replace(",", "").replace(" ", "")
    exponent = re.split("[eE]", digits)[1:]
    if len(digits) > MAX_DIGITS or (exponent and abs(int(exponent[0])) > MAX_DIGITS):
        return UNREADABLE
    return Token("number", Fraction(digits))


def _merge_words(lexemes: Sequence[Lexeme]) -> list[Lexeme]:
    """The lexemes with number words made numbers and scales applied ("1.5 million", "$5k")."""
    merged: list[Lexeme] = []
    at = 0
    while at < len(lexemes):
        lexeme, used = lexemes[at], 1
        if lexeme.kind == "word":
            lexeme, used = _number_of_words(lexemes, at, merged[-1].text.lower() if merged else "")
        elif lexeme.kind == "number" and at + 1 < len(lexemes):
            lexeme, used = _scaled(lexeme, lexemes[at + 1], is_money=bool(merged) and merged[-1].kind in CURRENCIES)
        merged.append(lexeme)
        at += used
    return merged


def _number_of_words(lexemes: Sequence[Lexeme], at: int, before: str) -> tuple[Lexeme, int]:
    """The number that the words from `at` on make and how many lexemes it takes; else the word itself."""
    words: list[str] = []
    owners: list[int] = []
    for index in range(at, min(at + 12, len(lexemes))):
        if lexemes[index].kind != "word":
            break
        parts = lexemes[index].text.split("-")
        words += parts
        owners += [index] * len(parts)
    found = read_number_words(words)
    if found is None:
        return lexemes[at], 1
    value, used = found
    # A word with an unread tail is no number: "two-storey".
    is_cut = used < len(words) and owners[used] == owners[used - 1]
    after = words[used].lower() if used < len(words) else ""
    is_pronoun = words[:used] in (["one"], ["One"]) and (before in _BEFORE_PRONOUN or after in ("of", "another"))
    if is_cut or is_pronoun:
        return lexemes[at], 1
    last = owners[used - 1]
    text = " ".join(words[:used])
    return Lexeme("number", lexemes[at].start, lexemes[last].stop, text, Token("number", value), True), last + 1 - at


def _scaled(number: Lexeme, after: Lexeme, *, is_money: bool) -> tuple[Lexeme, int]:
    """`number` times the scale in the word after it, and how many lexemes that takes."""
    scale = SCALES.get(after.text.lower(), 1)
    if scale == 1 and after.text[0] in _CJK_SCALES:
        scale = _CJK_SCALES[after.text[0]]
    if is_money and after.start == number.stop:
        scale = {"k": 1000, "K": 1000, "M": 10**6}.get(after.text, scale)
    if scale == 1 or number.token.kind != "number":
        return number, 1
    token = Token("number", number.token.value * scale)
    return Lexeme("number", number.start, after.stop, number.text, token, number.from_words), 2


def _merge_money(lexemes: Sequence[Lexeme]) -> list[Lexeme]:
    """Return the lexemes with a sum in two units, such as "34 dollars and 72 cents", as one number."""
    merged: list[Lexeme] = []
    at = 0
    while at < len(lexemes):
        is_sign = bool(merged) and merged[-1].kind in CURRENCIES
        money, used = _money(lexemes[at : at + 5], has_sign=is_sign)
        merged.append(money)
        at += used
    return merged


def _money(lexemes: Sequence[Lexeme], *, has_sign: bool) -> tuple[Lexeme, int]:
    """Return the sum of money that `lexemes` begin with and how many it takes; else the first lexeme alone."""
    whole, at = lexemes[0], 1
    if whole.token.kind != "number" or len(lexemes) < 3:
        return whole, 1
    has_unit = lexemes[at].text.lower() in _WHOLE_MONEY
    at += has_unit
    at += at < len(lexemes) and lexemes[at].text.lower() in ("and", "&", "und", "y", "con")
    if not (has_unit or has_sign) or at + 1 >= len(lexemes):
        return whole, 1
    cents, unit = lexemes[at : at + 2]
    is_below_one = cents.token.kind == "number" and 0 <= cents.token.value < 100
    if not is_below_one or unit.text.lower() not in _CENTS or whole.token.value.denominator != 1:
        return whole, 1
    token = Token("number", whole.token.value + cents.token.value / 100)
    return Lexeme("number", whole.start, unit.stop, whole.text, token, whole.from_words and cents.from_words), at + 2


def _merge_signs(lexemes: Sequence[Lexeme]) -> list[Lexeme]:
    """The lexemes with "minus", "negative", "plus", "times" beside numbers, and "of" after a percentage, made signs."""
    merged: list[Lexeme] = []
    for index, lexeme in enumerate(lexemes):
        following = lexemes[index + 1].kind if index + 1 < len(lexemes) else ""
        preceding = lexemes[index - 1].kind if index else ""
        word = lexeme.text.lower() if lexeme.kind == "word" and following in ("number", *CURRENCIES) else ""
        sign = {"plus": "+", "minus": "-", "times": "*"}.get(word, "") if preceding in ("number", "%") else ""
        if preceding == "%" and word == "of":
            sign = "*"
        if word in ("minus", "negative") and not sign:
            # The sign touches its number, as a sign in figures does.
            sign, lexeme = "-", Lexeme("-", lexemes[index + 1].start - 1, lexemes[index + 1].start, "-")
        merged.append(Lexeme(sign, lexeme.start, lexeme.stop, sign) if sign else lexeme)
    return merged
