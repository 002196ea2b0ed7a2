"""Classify tokens for reading learned weights: digits and operators should stand above function words (reading 14)."""

from __future__ import annotations

from enum import StrEnum

_OPERATORS = frozenset("+-*/=×÷−·%<>^")
# fmt: off
_FUNCTION_WORDS = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "he", "his", "she", "her", "they", "them",
    "their", "we", "us", "our", "you", "your", "i", "me", "my", "is", "are", "was", "were", "be", "been", "being",
    "am", "do", "does", "did", "have", "has", "had", "will", "would", "can", "could", "should", "may", "might",
    "must", "of", "in", "on", "at", "to", "from", "by", "for", "with", "as", "into", "than", "then", "so", "and",
    "or", "but", "if", "which", "who", "whom", "whose", "what", "when", "where", "how", "why", "there", "here", "not",
    "no", "now", "first", "next", "also", "well", "okay", "alright", "indeed", "let", "all",
})
# fmt: on


class TokenType(StrEnum):
    """Kinds of rationale tokens."""

    DIGIT = "digit"
    OPERATOR = "operator"
    FUNCTION_WORD = "function_word"
    OTHER_WORD = "other_word"
    PUNCTUATION = "punctuation"


def token_type(text: str) -> TokenType:
    """The kind of a token, by the text it covers.

    >>> [token_type(t).value for t in (" 48", "=", " the", " clips", ".")]
    ['digit', 'operator', 'function_word', 'other_word', 'punctuation']
    """
    bare = text.strip().lower()
    if any(c.isdigit() for c in bare):
        return TokenType.DIGIT
    if bare and all(c in _OPERATORS for c in bare):
        return TokenType.OPERATOR
    if bare in _FUNCTION_WORDS:
        return TokenType.FUNCTION_WORD
    return TokenType.OTHER_WORD if any(c.isalpha() for c in bare) else TokenType.PUNCTUATION
