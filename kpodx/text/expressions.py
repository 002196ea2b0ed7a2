"""Exact arithmetic on short written sums such as "(10 - (3 + 6))" or "16 - 3 - 4 = 9": no eval, bounded work.

Grammar, loosest first; "%" divides by 100 only where the number is a factor of a product::

    sum     = product (("+" | "-") product)*
    product = power (("*" | "/") power)*
    power   = sign? atom ("^" power)?
    atom    = number "%"? | "(" sum ")" "%"?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MAX_TOKENS = 200
MAX_DEPTH = 32
MAX_EXPONENT = 64
MAX_BITS = 1024


@dataclass(frozen=True)
class Token:
    """One piece of a sum: `kind` is "number", or the sign itself: + - * / ^ ( ) % =; `value` is set for numbers."""

    kind: str
    value: Fraction = Fraction(0)


class _Unreadable(Exception):  # noqa: N818  (never leaves this module)
    """The tokens are no sum, or computing it would be unbounded."""


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _Unreadable
    return value


class _Parser:
    """Recursive descent over `tokens`; every method leaves `at` behind what it has read."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def peek(self, ahead: int = 0) -> str:
        """Kind of the token `ahead` places on; empty after the last."""
        return self.tokens[self.at + ahead].kind if self.at + ahead < len(self.tokens) else ""

    def take(self) -> str:
        """Kind of the next token, which is passed."""
        kind = self.peek()
        self.at += 1
        return kind

    def starts_operand(self, ahead: int) -> bool:
        """Whether an operand, after any signs, begins `ahead` places on."""
        while self.peek(ahead) in ("+", "-") and ahead <= MAX_DEPTH:
            ahead += 1
        return self.peek(ahead) in ("number", "(")

    def sum(self) -> Fraction:
        """Read additions; a sign with no operand after it is left unread."""
        value = self.product()
        while self.peek() in ("+", "-") and self.starts_operand(1):
            sign = 1 if self.take() == "+" else -1
            value = _bounded(value + sign * self.product())
        return value

    def product(self) -> Fraction:
        """Read multiplications and divisions."""
        value, percent = self.power()
        is_product = False
        while self.peek() in ("*", "/") and self.starts_operand(1):
            operator = self.take()
            factor, factor_percent = self.power()
            if not is_product and percent:
                value /= 100
            factor = factor / 100 if factor_percent else factor
            if operator == "/" and factor == 0:
                raise _Unreadable
            value = _bounded(value * factor if operator == "*" else value / factor)
            is_product = True
        return value

    def power(self) -> tuple[Fraction, bool]:
        """Read a signed power and whether a percent sign closed it; -2^2 is -4."""
        if self.depth >= MAX_DEPTH:
            raise _Unreadable
        self.depth += 1
        try:
            if self.peek() in ("+", "-"):
                sign = 1 if self.take() == "+" else -1
                value, percent = self.power()
                return sign * value, percent
            base, percent = self.atom()
            if self.peek() == "^" and self.starts_operand(1):
                self.take()
                exponent, _ = self.power()
                base = self.raised(base, exponent)
            return base, percent
        finally:
            self.depth -= 1

    def raised(self, base: Fraction, exponent: Fraction) -> Fraction:
        """`base` to a small whole power."""
        if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT or (base == 0 and exponent < 0):
            raise _Unreadable
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size * abs(int(exponent)) > MAX_BITS:
            raise _Unreadable
        return Fraction(base ** int(exponent))

    def atom(self) -> tuple[Fraction, bool]:
        """Read a number or a bracket, and whether a percent sign follows."""
        kind = self.take()
        if kind == "number":
            value = self.tokens[self.at - 1].value
        elif kind == "(":
            value = self.sum()
            if self.take() != ")":
                raise _Unreadable
        else:
            raise _Unreadable
        percent = self.peek() == "%"
        if percent:
            self.at += 1
        return value, percent


def evaluate(tokens: Sequence[Token]) -> Fraction | None:
    """Value of a written sum; of "5 + 3 = 8" the right-most side that can be read.

    Operators without an operand after the last one (as in "18 / hour") and unopened brackets are passed over. None
    where the tokens are no sum, divide by zero, or exceed the bounds on length, depth, exponent and size.

    >>> number = lambda value: Token("number", Fraction(value))
    >>> evaluate([Token("("), number(84), Token("/"), number(2), Token(")")])
    Fraction(42, 1)
    """
    if len(tokens) > MAX_TOKENS:
        return None
    sides: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "=":
            sides.append([])
        else:
            sides[-1].append(token)
    for side in reversed(sides):
        if any(token.kind == "number" for token in side):
            return _evaluate_side(side)
    return None


def _evaluate_side(tokens: Sequence[Token]) -> Fraction | None:
    parser = _Parser(tokens)
    try:
        value = parser.sum()
    except _Unreadable:
        return None
    rest = [token.kind for token in tokens[parser.at :]]
    return value if all(kind in "+-*/^)" for kind in rest) else None
