r"""Kinds of tokens: words, digits, signs, markdown and LaTeX."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpodx.text.token_types import TokenType, token_type

GOLDEN = {
    TokenType.DIGIT: [
        *("7", " 48", "$3", "1,", "3.5", "x2", "½", "¾", " 2½", "²", "Ⅷ", "٣"),
        *("π", "∞", r"\pi", r"\infty", r"{\pi}", r"2\pi", r"\frac{1", r"50\%", "infty"),
    ],
    TokenType.OPERATOR: [
        *("=", " +", "-", "*", "/", "×", "÷", "%", "<<", ">>", "−", "==", "//", "->", "(+", "^"),
        *("√", "≈", "≤", "≥", "≠", "±", "∑", "∏", "∫", "∈", "→", "⇒", "°", "°)", "‰", "·"),
        *(r"\frac", r"\frac{", r"\dfrac", r"\times", r" \cdot", r"\div", r"\leq", r"\geq", r"\neq", r"\approx", r"\pm"),
        *(r"\sqrt{", r"\sum", r"\circ", r"^\circ", r"\%", r"\sin", r"\implies", r"\left(\frac", "frac", "cdot", "&="),
    ],
    TokenType.FUNCTION_WORD: ["the", " The", "OF", " is", "so", "(the", "then", "I", " a", r"\text{and}", "if"],
    TokenType.OTHER_WORD: [
        *(" clips", "Tom", "don", "é", "s", "三", "苹果", "times", "land", "x", "_x"),
        *(r"\theta", r"\alpha", r"\text{apples}", r"\mathbf{x}", r"\textbf{Step"),
    ],
    TokenType.PUNCTUATION: [
        *(".", ",", " ", "", "\n", "$", "'", ")", "...", "…", "。", "、", "—", "–", "|", "~", "_", "#"),
        *("**", " **", "***", "--", "---", "__", "~~", "```", "$$", "{", "}", "&"),
        *("\\", r"\(", r"\)", r"\[", r"\]", r"\\", r"\$", r"\,", r"\left", r"\right)", r"\text{", r"\boxed{"),
        *(r"\begin", r"\begin{align}", r"\end{align*}", r"\quad", r"\displaystyle", r"\mathrm{", r"\dots"),
    ],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in GOLDEN.items() for text in texts])
def test_kinds(kind: TokenType, text: str) -> None:
    assert token_type(text) == kind


@given(st.text(max_size=30))
def test_any_text_has_a_kind_that_space_around_it_does_not_change(text: str) -> None:
    assert token_type(text) is token_type(f" {text}\n")


@pytest.mark.parametrize("unit", ["\\", "\\frac", "{", "\\begin{", "\\begin{a", "**", "\\[", "a", "½"])
def test_time_is_linear_in_the_length(unit: str) -> None:
    started = time.process_time()
    token_type((unit * 100_000)[:100_000])
    assert time.process_time() - started < 2
