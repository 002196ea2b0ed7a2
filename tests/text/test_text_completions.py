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


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Question: How many eggs?\n2 + 3 = 5. The answer is 5.", "2 + 3 = 5. The answer is 5."),
        ("Question: How many eggs?\nSolution: 2 + 3 = 5.\n\nQuestion: More?\nSolution: 7.", "2 + 3 = 5."),
        ("**Question:**\n\nHow many eggs?\n\n**Solution:**\n\n2 + 3 = 5.", "2 + 3 = 5."),
        ("### Problem:\nHow many eggs?\n\n### Solution\n2 + 3 = 5.", "2 + 3 = 5."),
        ("Problem: How many eggs?\n\n2 + 3 = 5.\n\nIt is 5.", "2 + 3 = 5.\n\nIt is 5."),
        ("Let's solve this step by step.\n\n**Problem:** How many?\n\n**Solution:**\n2 + 3 = 5.", "2 + 3 = 5."),
        ("Given: 2 eggs and 3 eggs.\nQuestion: How many?\nSolution: 2 + 3 = 5.", "2 + 3 = 5."),
        ("Question: Where?\n(a) sea\n(b) zoo\n\nA zoo has cages.", "A zoo has cages."),
        ("Question: Where?\nAnswer Choices:\n(a) sea\n(b) zoo\nA: A zoo has cages.", "A zoo has cages."),
        ("Q: How many eggs?\nA: 2 + 3 = 5. The answer is 5.\n\nQ: More?\nA: 7", "2 + 3 = 5. The answer is 5."),
        ("Exercise 3: How many eggs?\nStep 1: 2 + 3 = 5.", "Step 1: 2 + 3 = 5."),
        ("Question: How many eggs?\nAnswer: 5", "Answer: 5"),
        ("Question: only this", ""),
        ("User: How many?\n", ""),
        ("First, 2 + 3 = 5. The answer is 5.\n\nProblem 2: More?\nSolution: 7.", "First, 2 + 3 = 5. The answer is 5."),
        ("2 + 3 = 5.\n\nQuestion: There are 15 trees.\nAnswer: 15", "2 + 3 = 5."),
    ],
)
def test_a_restated_question_does_not_cut_its_solution(raw: str, cleaned: str) -> None:
    assert clean_completion(raw) == cleaned
    assert clean_completion(cleaned) == cleaned


def test_a_known_question_tells_restated_from_invented_ones() -> None:
    question = "Tom has 2 eggs and finds 3 more. How many eggs has he?"
    invented = "\n\nQ: There are 15 trees in the grove today.\nA: They plant 6. The answer is 6."
    assert clean_completion(invented, question) == ""
    assert clean_completion(f"Q: {question}\nA: 2 + 3 = 5.{invented}", question) == "2 + 3 = 5."
    middle = f"He finds more eggs.\n\nQuestion: {question}\n\nHe has 2 + 3 = 5."
    assert clean_completion(middle, question) == "He finds more eggs.\n\nHe has 2 + 3 = 5."
    answered = f"He has 2 + 3 = 5. The answer is 5.\n\nQ: {question}\nA: 6."
    assert clean_completion(answered, question) == "He has 2 + 3 = 5. The answer is 5."


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Solution: 2 + 3 = 5.", "2 + 3 = 5."),
        ("### Solution\n2 + 3 = 5.", "2 + 3 = 5."),
        ("**Explanation:**\n\n2 + 3 = 5.", "2 + 3 = 5."),
        ("**Reasoning**\n2 + 3 = 5.", "2 + 3 = 5."),
        ("## Step-by-step solution\n\n2 + 3 = 5.", "2 + 3 = 5."),
        ("Step-by-step explanation:\n2 + 3 = 5.", "2 + 3 = 5."),
        ("Chain of thought: 2 + 3 = 5.", "2 + 3 = 5."),
        ("**Answer:**\nTom has 2 eggs. He finds 3, so he has 5.", "Tom has 2 eggs. He finds 3, so he has 5."),
        ("Answer: B\n\nExplanation: A zoo has cages.", "Answer: B\n\nExplanation: A zoo has cages."),
        ("Answer: 18 apples\n\nShe sells 9 * 2 = 18.", "Answer: 18 apples\n\nShe sells 9 * 2 = 18."),
        ("Answer: the wooded area\nIt has trees.", "Answer: the wooded area\nIt has trees."),
        ("**Answer:**\n\n$18\n\nShe sells 9.", "**Answer:**\n\n$18\n\nShe sells 9."),
        ("Answer: Yes. Hens lay eggs.", "Answer: Yes. Hens lay eggs."),
        ("Solution is what we look for.", "Solution is what we look for."),
    ],
)
def test_a_heading_goes_and_an_answer_stays(raw: str, cleaned: str) -> None:
    assert clean_completion(raw) == cleaned
