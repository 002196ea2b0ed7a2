"""What a student reads and writes, the same in training, in evaluation and on the device.

::

    Q: <question> A: Let's think step by step. <rationale> Therefore, the answer is <answer>.

The layout is the paper's zero-shot chain of thought (section 3); the student reads up to the cue and writes the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from kpodx.schema import Question

PROMPT_VERSION = 1
CUE = "Let's think step by step."


def format_choices(choices: Sequence[str]) -> str:
    """The options of a multiple-choice question in one line.

    >>> format_choices(["bank", "mall"])
    'Answer choices: (A) bank (B) mall'
    """
    return "Answer choices: " + " ".join(f"({chr(ord('A') + i)}) {text}" for i, text in enumerate(choices))


def student_prompt(question: Question) -> str:
    """All that the student is given before it starts to reason."""
    choices = f" {format_choices(question.choices)}" if question.choices else ""
    return f"Q: {question.question}{choices} A: {CUE}"


def answer_sentence(answer: str) -> str:
    """The sentence that ends a target.

    >>> answer_sentence("18")
    'Therefore, the answer is 18.'
    """
    return f"Therefore, the answer is {answer}."
