"""Cleaning completions: invented and restated questions, headings, calculator marks."""

from __future__ import annotations

import pytest

from kpodx.text.completions import clean_completion, remove_calculator_marks


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("\nA: It is 5.\n\nQ: There are 15 trees.\nA: 15", "It is 5."),
        ("It is 5.\nQ: More?", "It is 5."),
        ("It is 5.\nQuestion: More?", "It is 5."),
        ("It is 5.\n\n**Question 2:** More?", "It is 5."),
        ("It is 5.\n### Problem: More?", "It is 5."),
        ("It is 5.\n\nQ", "It is 5."),
        ("It is 5.</s> junk", "It is 5."),
        ("It is 5.<|im_end|>", "It is 5."),
        ("Q: Only a question", ""),
        ("A:", ""),
        ("**A:** It is 5.", "It is 5."),
        ("Answer: Tom has 3. So 4 remain.", "Tom has 3. So 4 remain."),
        ("Answer: 18", "Answer: 18"),
        ("A question: is it 5?\nQuite so.", "A question: is it 5?\nQuite so."),
        ("", ""),
    ],
)
def test_clean_completion(raw: str, cleaned: str) -> None:
    assert clean_completion(raw) == cleaned


def test_calculator_marks() -> None:
    assert remove_calculator_marks("a <<48/2=24>>24 b <<1+1=2>>2") == "a 24 b 2"
    assert remove_calculator_marks("1 << 2 and 3 >> 1\n<<4") == "1 << 2 and 3 >> 1\n<<4"
