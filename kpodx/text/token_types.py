"""Classify tokens for reading learned weights: digits and operators should stand above function words (reading 14)."""

from __future__ import annotations

import functools
import re
import unicodedata
from enum import StrEnum


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPERATORS = frozenset("+-*/=×÷−·⋅%‰<>^°′″√")
_NOT_OPERATORS = frozenset("|~∞")
"""Signs that Unicode counts as mathematical, but that are bars, ties and a number here."""
_MARKUP = _words("** *** **** -- --- ---- __ ~~ ~~~")
"""Signs of markdown and dashes that are written with operators."""
_CONSTANTS = frozenset("π∞")
_FUNCTION_WORDS = _words(
    "a an the this that these those it its he his she her they them their we us our you your i me my is are was were"
    " be been being am do does did have has had will would can could should may might must of in on at to from by for"
    " with as into than then so and or but if which who whom whose what when where how why there here not no now"
    " first next also well okay alright indeed let all"
)
_COMMAND_OPERATORS = _words(
    "frac dfrac tfrac cfrac times cdot div ast star leq le geq ge neq ne lt gt approx equiv sim simeq cong propto pm mp"
    " sqrt sum prod int oint cup cap setminus in notin subset subseteq mid nmid parallel perp angle triangle circ"
    " degree to rightarrow Rightarrow implies iff mapsto binom dbinom choose bmod mod pmod gcd lcm max min log ln exp"
    " sin cos tan cot sec csc arcsin arccos arctan lim overline lfloor rfloor lceil rceil partial nabla land lor"
    " lnot neg forall exists therefore because %"
)
_COMMAND_CONSTANTS = _words("pi infty")
_COMMAND_WORDS = _words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon"
    " phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar emptyset varnothing"
)
_BARE_COMMANDS = _words("frac dfrac tfrac cfrac cdot sqrt leq geq neq approx equiv infty binom notin")
"""Commands that a tokenizer may part from their backslash, and that are not words."""
_COMMAND = re.compile(r"\\([a-zA-Z]{1,20}|%)")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-zA-Z*]{0,20}\}?")
_ESCAPED = re.compile(r"\\[^a-zA-Z%]")


class TokenType(StrEnum):
    """Kinds of rationale tokens."""

    DIGIT = "digit"
    OPERATOR = "operator"
    FUNCTION_WORD = "function_word"
    OTHER_WORD = "other_word"
    PUNCTUATION = "punctuation"


KEYPOINT_TYPES = (TokenType.DIGIT, TokenType.OPERATOR)
"""The types that count as keypoints if nobody marked any."""


# The tokens of a vocabulary come again and again.
@functools.lru_cache(maxsize=65_536)
def token_type(text: str) -> TokenType:
    r"""Return the kind of a token, by the text it covers.

    Constants count as digits. A LaTeX command counts by its meaning: `\frac` is an operator, `\pi` a digit, `\theta` a
    word; all others (`\text`, `\left`, `\begin`) are punctuation, and the rest of the token decides.

    >>> [token_type(t).value for t in (" 48", "=", " the", " clips", ".", "\\times", "½")]
    ['digit', 'operator', 'function_word', 'other_word', 'punctuation', 'operator', 'digit']
    """
    bare = text.strip()
    names: set[str] = {bare} & _BARE_COMMANDS
    if "\\" in bare:
        bare = _ENVIRONMENT.sub(r"\\\\", bare)
        names = set(_COMMAND.findall(bare))
    if any(map(_is_digit, bare)):
        return TokenType.DIGIT
    if names:
        return _command_type(bare, names)
    return _plain_type(_ESCAPED.sub("", bare).strip("{}()[]$&"), bare)


def _is_digit(character: str) -> bool:
    """Whether a character is a digit, a fraction such as "½", a Roman numeral sign, or a constant."""
    if character.isascii():
        return character.isdigit()
    return character in _CONSTANTS or unicodedata.category(character) in ("Nd", "No", "Nl")


def _command_type(bare: str, names: set[str]) -> TokenType:
    """Return the kind of a token with LaTeX commands."""
    if names & _COMMAND_CONSTANTS:
        return TokenType.DIGIT
    if names & _COMMAND_OPERATORS:
        return TokenType.OPERATOR
    if names & _COMMAND_WORDS:
        return TokenType.OTHER_WORD
    rest = _COMMAND.sub(" ", bare).strip(" {}()[]$&,;!")
    return _plain_type(rest, rest)


def _plain_type(inside: str, bare: str) -> TokenType:
    """Return the kind of a token without commands; `inside` is without brackets around it."""
    if inside and inside not in _MARKUP and all(map(_is_operator, inside)):
        return TokenType.OPERATOR
    if inside.lower() in _FUNCTION_WORDS:
        return TokenType.FUNCTION_WORD
    return TokenType.OTHER_WORD if any(c.isalpha() for c in bare) else TokenType.PUNCTUATION


def _is_operator(character: str) -> bool:
    if character.isascii() or character in _OPERATORS or character in _NOT_OPERATORS:
        return character in _OPERATORS
    return unicodedata.category(character) == "Sm"
