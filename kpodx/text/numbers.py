"""Finding the quantities in a text: figures in every common style, number words, and sums that are worked out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from kpodx.text.expressions import Token, evaluate
from kpodx.text.lexemes import CURRENCIES, UNREADABLE, Lexeme, read_lexemes

_CONJUNCTIONS = ("and", "or", "but", "then", "so")
_OPERATORS = "+-*/^="
ROOT = "√"
"""The sign of a root; a sum that holds one has no value here."""


@dataclass(frozen=True)
class Quantity:
    """A number or a sum in a text at [start, stop) of the *plain* text; `value` is None where it cannot be read.

    `from_words` marks number words, `is_equation` a sum with its result ("9 * 2 = 18").
    """

    start: int
    stop: int
    value: Fraction | None
    from_words: bool = False
    is_equation: bool = False


def find_quantities(plain: str, *, after_marker: bool = False) -> list[Quantity]:
    """Every quantity of a plain text, in order.

    Args:
        plain: what `plain_text` returns.
        after_marker: whether the text follows an answer marker, so that a spaced minus at its start is a sign.
    """
    lexemes = read_lexemes(plain)
    quantities = []
    at = 0
    while at < len(lexemes):
        quantity, stop = _read_run(lexemes, at, plain, first_is_sign=after_marker and at == 0)
        if quantity is not None:
            quantities.append(quantity)
        at = max(stop, at + 1)
    return quantities


def format_number(value: Fraction) -> str:
    """`value` as a plain decimal without trailing zeros, or as "p/q" where its decimals never end.

    >>> format_number(Fraction(1200)), format_number(Fraction(-7, 2)), format_number(Fraction(1, 3))
    ('1200', '-3.5', '1/3')
    """
    rest, decimals = value.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        decimals = max(decimals, power)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    if decimals == 0:
        return str(value.numerator)
    digits = str(abs(value.numerator) * 10**decimals // value.denominator).rjust(decimals + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-decimals]}.{digits[-decimals:]}"


class _Run:
    """One sum being read from `lexemes`, from `at` on."""

    def __init__(self, lexemes: Sequence[Lexeme], at: int, plain: str) -> None:
        self.lexemes, self.at, self.plain = lexemes, at, plain
        self.tokens: list[Token] = []
        self.depth = 0
        self.from_words = True
        self.stop = lexemes[at].stop

    def kind(self, at: int) -> str:
        """Kind of the lexeme at `at`; empty behind the last."""
        return self.lexemes[at].kind if at < len(self.lexemes) else ""

    def take(self, token: Token | None = None) -> None:
        """Pass the next lexeme, keeping `token`."""
        if token is not None:
            self.tokens.append(token)
        self.stop = self.lexemes[self.at].stop
        self.at += 1

    def begins_operand(self, at: int) -> bool:
        """Whether a number, perhaps behind signs, currency and brackets, begins at `at`."""
        for index in range(at, at + 6):
            if self.kind(index) == "number":
                return True
            if self.kind(index) not in ("(", "+", "-", ROOT, *CURRENCIES):
                return False
        return False

    def touches_next(self, at: int) -> bool:
        """Whether the lexeme at `at` stands directly before the next."""
        return at + 1 < len(self.lexemes) and self.lexemes[at].stop == self.lexemes[at + 1].start

    def skip_words(self) -> int | None:
        """Where reading goes on after up to three unit words ("5 apples + 3"); None where the sum ends before them."""
        at = self.at
        while self.kind(at) == "word" and at - self.at < 3:
            if self.lexemes[at].text.lower() in _CONJUNCTIONS:
                # "x = 3 and y = 4": what follows is a sum of its own.
                return None
            at += 1
        is_apart = at > self.at and at < len(self.lexemes) and self.lexemes[at - 1].stop < self.lexemes[at].start
        if is_apart and self.kind(at) == "-" and self.touches_next(at):
            # "3 apples make -5": a minus that leans on the number alone is a sign.
            return None
        # A power belongs to its unit: "12 m^2" is 12.
        if self.kind(at) and self.kind(at) in "+-*/=" and self.begins_operand(at + 1):
            return at
        return at if self.kind(at) == ")" and self.depth else None

    def operand(self) -> bool:
        """Read signs, currency, brackets and one number; False where there is none."""
        while True:
            kind = self.kind(self.at)
            if kind == "number":
                self.from_words &= self.lexemes[self.at].from_words
                self.take(self.lexemes[self.at].token)
                return True
            if kind in ("(", "+", "-", ROOT) and self.begins_operand(self.at + 1):
                self.depth += kind == "("
                self.take(Token(kind))
            elif kind and kind in CURRENCIES:
                self.take()
            else:
                return False

    def operator(self) -> bool:
        """Read what may follow a number, up to and with an operator; False where the sum ends."""
        while True:
            kind = self.kind(self.at)
            if kind == "%" or (kind == ")" and self.depth):
                self.depth -= kind == ")"
                self.take(Token(kind))
            elif kind and kind in _OPERATORS:
                return self.binary(kind)
            elif kind == ROOT:
                # "2√3": the root is a factor, though no operator says so.
                return self.begins_operand(self.at)
            elif kind == "word" and self.lexemes[self.at].text.startswith("π"):
                self.take(UNREADABLE)
            elif kind and kind in CURRENCIES and not self.begins_operand(self.at + 1):
                self.take()
            elif kind == "word" and (at := self.skip_words()) is not None:
                self.at = at
            else:
                return False

    def binary(self, kind: str) -> bool:
        """Read an operator and what leads to its right side; False where it has none."""
        if self.begins_operand(self.at + 1):
            self.take(Token(kind))
            return True
        after = self.at + 1
        while kind == "=" and self.kind(after) == "word" and after - self.at < 3:
            after += 1
        if kind == "=" and self.begins_operand(after):
            self.take(Token("="))
            self.at = after
            return True
        if self.at + 1 == len(self.lexemes) and kind not in "=*":
            # Cut off in the middle of a sum: no value, rather than the value of its beginning.
            self.take(UNREADABLE)
        return False

    def value(self) -> Fraction | None:
        """Value of what has been read; brackets left open by words inside are dropped, by the text's end are not."""
        tokens = self.tokens
        if self.depth and self.at < len(self.lexemes):
            leading = next(i for i, token in enumerate(tokens) if token.kind != "(")
            tokens = tokens[min(self.depth, leading) :]
        return evaluate(tokens)


def _read_run(lexemes: Sequence[Lexeme], at: int, plain: str, *, first_is_sign: bool) -> tuple[Quantity | None, int]:
    """The quantity that begins at lexeme `at`, if any, and where reading goes on."""
    first, run = lexemes[at], _Run(lexemes, at, plain)
    if first.kind == "-":
        is_free = first.start == 0 or not (plain[first.start - 1].isalnum() or plain[first.start - 1] in ")%")
        if not (first_is_sign or (run.touches_next(at) and is_free)):
            return None, at + 1
    if first.kind in ("+", *"*/^=") or not run.operand():
        # What was passed holds no number, so that it is not read again from every place inside.
        return None, max(run.at, at + 1)
    while run.operator() and run.operand():
        pass
    kinds = [token.kind for token in run.tokens]
    last_equals = len(kinds) - 1 - kinds[::-1].index("=") if "=" in kinds else 0
    is_equation = any(kind in kinds[1:last_equals] for kind in "+-*/^")
    return Quantity(first.start, run.stop, run.value(), run.from_words, is_equation), run.at
