"""Kinds of tokens."""

from __future__ import annotations

import pytest

from kpodx.text.token_types import TokenType, token_type


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (TokenType.DIGIT, ("7", " 48", "$3", "1,", "3.5", "x2")),
        (TokenType.OPERATOR, ("=", " +", "-", "*", "/", "×", "÷", "%", "<<", ">>", "−")),
        (TokenType.FUNCTION_WORD, ("the", " The", "OF", " is", "so")),
        (TokenType.OTHER_WORD, (" clips", "Tom", "don", "é", "s")),
        (TokenType.PUNCTUATION, (".", ",", " ", "", "\n", "$", "'", ")", "...")),
    ],
)
def test_kinds(kind: TokenType, texts: tuple[str, ...]) -> None:
    assert [token_type(text) for text in texts] == [kind] * len(texts)
