r"""Is a stated answer one number, or mathematics that must not be read in part ("2k+2", "\sqrt{51}", "(2, \infty)")?"""

from __future__ import annotations

import re

_WINDOW = 200  # characters of a stated answer that are looked at
_CANONICAL = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:/\d{1,40})?")
"""Numbers as kpodx writes them; most answers are, and need no further look."""

_FUNCTIONS = "sqrt|cbrt|pi|infinity|log|ln|sin|cos|tan|mod"
_PLAIN = re.compile(
    rf"(?:[-+*/=().%$€£:\s\d×÷]|,(?=\d{{3}}))*+(?:\Z|[;!]|,(?! ?[-\d\\$])|(?<=\s)(?!(?:{_FUNCTIONS}|[xyz]{{2,3}})\b)[a-zA-Z]{{2}})"
)
"""Figures, signs and prose: most stated answers need no further look either."""
_OPENING = re.compile(r"[\s*_`\"'“‘:>#-]{0,12}(?P<mark>\$\$|\$|\\\(|\\\[)")
_CLOSING = {"$$": "$$", "$": "$", "\\(": "\\)", "\\[": "\\]"}
_PRICE = re.compile(r"[\s(\[]\$|.\$\d")
# The value that a sentence begins with: up to the first word of prose, the line's end, or a stop with a space.
_LEAD = re.compile(
    rf"(?:\\[a-zA-Z]{{1,20}}|\\.|(?:{_FUNCTIONS})(?![a-zA-Z])|[a-zA-Z](?![a-zA-Z])"
    r"|(?:[xyz]{2,3}|(?<=\d)[abcnxyz]{2})(?![a-zA-Z])|[.,:;!?](?![\s]|\Z)"
    rf"|,[ ](?=[-\d\\(]|\\)|[^a-zA-Z\n.,:;!?\\])*"
)
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf|mbox|operatorname) ?\{[^{}]{0,60}\}")
_NUMERIC_COMMANDS = re.compile(
    r"\\(?:[dtc]?frac|times|cdot|ast|div|approx|left|right|big|Big|quad|qquad|circ|degree|displaystyle|boxed|fbox|ne?g"
    r"|text(?:bf|it|rm)?|math(?:rm|bf))(?![a-zA-Z])|\\[,;:! %$&()\[\]]|\\\\"
)
_TORN_FRACTION = re.compile(r"\\[dtc]?frac(?! ?(?:\d|\{[^{}]{1,80}\}) ?(?:\d|\{[^{}]{1,80}\}))")
_COMMAND = re.compile(r"\\[a-zA-Z]")
_SIGNS = re.compile(r"[√∛π∞≤≥≠±∓∪∩∈|]|[\w)}] ?[<>] ?[-\w(\\]")
_FUNCTION = re.compile(rf"(?<![a-zA-Z])(?:{_FUNCTIONS})(?![a-zA-Z])")
_SUBSCRIPT = re.compile(r"[\da-zA-Z)]_\{?\w")
_GROUPS = re.compile(r"(?<=\d)(?:\{,\}|,)(?=\d{2,3}(?:,\d{2,3}){0,8}(?!\d))")
_TUPLE = re.compile(r"[(\[{][^()\[\]{}]{0,80}[\w)}] ?, ?[-\w\\(][^()\[\]{}]{0,80}[)\]}]")
_LIST = re.compile(r"[\d)}] ?[,;] ?-?(?:\d|\\|[a-zA-Z]\b)")
_SCIENTIFIC = re.compile(r"(?<=\d)[eE](?=[-+]?\d)")
_TIMES = re.compile(r"(?<=[\d)}]) ?[xX] ?(?=[\d($.])")
_MONEY = re.compile(r"(?<=[$€£¥₹])( ?\d[\d,.]{0,20}) ?[kKmMbB](?![a-zA-Z])")
_UNIT = re.compile(
    r"(?<=[\d}]) ?[mgshlLcCFKVWJNAd](?:\^\{?[23]\}?|[²³])?(?:/[a-zA-Z]{1,4}(?:\^\{?2\}?|²)?)?"
    r"(?= ?(?:\Z|[.,;:!?)\]$]|[a-zA-Z]{2}))|(?<=\d)k(?= (?!for|with|if|when|is)[a-zA-Z]{2})"
)
_ARTICLE = re.compile(r"(?<![a-zA-Z)\d])[aAI]\s{1,3}\Z")
_VARIABLE = re.compile(
    r"[\d)}](?!\s)[a-zA-Z](?![a-zA-Z])|[-+*/^({]\s?[a-zA-Z](?![a-zA-Z.])(?!\))|(?<![a-zA-Z.])[a-zA-Z]\s?[-+*/^]\s?[\d(a-zA-Z\\]"
    r"|(?<![a-zA-Z])[a-zA-Z]\(|(?<![a-zA-Z])[a-zA-Z]\^"
)
_PRODUCT = re.compile(r"(?<![a-zA-Z])[xyz]{2}(?![a-zA-Z])|\d[abcnxyz]{2}(?![a-zA-Z])")
_WORD = re.compile(r"[a-zA-Z]{2,40}(?:\^\{?[23]\}?|[²³])?(?:/[a-zA-Z]{1,5}(?:\^\{?2\}?|²)?)?")
_LONE_VARIABLE = re.compile(r"(?<=[\d)}]) [b-zB-HJ-Z]\Z|^[a-zA-Z]$")


def is_symbolic(answer: str) -> bool:
    r"""Whether a whole answer is mathematics rather than one number, perhaps with a unit or in an equation.

    >>> [is_symbolic(text) for text in (r"\sqrt{51}", "2k+2", "(2, 3)", "1,080 m^2", r"12 \frac{3}{5}", "x = 5")]
    [True, True, True, False, False, False]
    """
    if _CANONICAL.fullmatch(answer):
        return False
    answer = answer[:_WINDOW].strip().rstrip(".")
    return _is_formula(_inside(answer) or answer, is_whole=True)


_ENVIRONMENT = re.compile(
    r"[\s$]{0,8}(?:\\\[\s{0,4})?\\begin\{(?P<name>(?:align(?:ed)?|gather(?:ed)?|split|eqnarray|equation|multline)\*?)\}"
    r"(?P<rows>.{0,600}?)\\end\{(?P=name)\}",
    re.DOTALL,
)
"""A derivation in rows, which ends with what it finds."""


def states_formula(segment: str) -> bool:
    """Whether a sentence after an answer marker begins with such mathematics; prose behind it does not matter.

    >>> states_formula(" 2k+2 for every k."), states_formula(" 12, because 2k + 2 = 26.")
    (True, False)
    """
    if _PLAIN.match(segment):
        return False
    derivation = _ENVIRONMENT.match(segment)
    if derivation is not None:
        last_row = re.split(r"\\\\(?![a-zA-Z])", derivation["rows"].rstrip("\\ \n"))[-1]
        return _is_formula(last_row.replace("&", " ").strip(" =\n"), is_whole=True)
    segment = segment[:_WINDOW]
    inside = _inside(segment)
    if inside is not None:
        return _is_formula(inside, is_whole=True)
    segment = segment.lstrip(" \n\t*_`:")
    lead = _LEAD.match(segment)
    assert lead is not None
    # The word behind tells a unit ("a 5k run") from a variable.
    word = _WORD.match(segment, lead.end())
    return _is_formula((_ARTICLE.sub("", lead[0]) + (word[0] if word else "")).strip(), is_whole=False)


def _inside(text: str) -> str | None:
    r"""What the formula that `text` begins with holds, without its "$" or "\("; None if it begins otherwise."""
    opening = _OPENING.match(text)
    if opening is None:
        return None
    start = opening.end()
    stop = text.find(_CLOSING[opening["mark"]], start)
    # "$5 and $6" are prices: behind a formula's first "$" and in front of its last there is no space.
    is_price = opening["mark"] == "$" and (text[start : start + 1].isspace() or _PRICE.match(text, stop - 1))
    return None if stop < 0 or is_price else text[start:stop].strip().rstrip(".")


def _is_formula(value: str, *, is_whole: bool) -> bool:
    """Whether a value holds more than one number; a list without brackets counts if the value is the `is_whole` answer."""
    if _TORN_FRACTION.search(value):
        return True
    value = _TEXT.sub(" ", value)
    value = _NUMERIC_COMMANDS.sub(lambda command: "-" if command[0] == "\\div" else " ", value).strip()
    value = value.replace("\\{", "{").replace("\\}", "}")
    if _COMMAND.search(value) or _SIGNS.search(value) or _FUNCTION.search(value) or _SUBSCRIPT.search(value):
        return True
    value = _GROUPS.sub("", _MONEY.sub(r"\1", value))
    if _TUPLE.search(value) or (is_whole and _LIST.search(value)):
        return True
    sides = value.split("=")
    stated = next((side for side in reversed(sides) if any(map(str.isdigit, side))), sides[-1])
    return _holds_variable(stated.strip(), is_whole=is_whole)


def _holds_variable(value: str, *, is_whole: bool) -> bool:
    """Whether a side of an equation holds a letter that stands for a number, not for a unit."""
    value = _UNIT.sub(" ", _TIMES.sub("*", _SCIENTIFIC.sub("0", value)))
    if _PRODUCT.search(value):
        return True
    value = _WORD.sub(" ", value)
    return _VARIABLE.search(value) is not None or (is_whole and _LONE_VARIABLE.search(value) is not None)
