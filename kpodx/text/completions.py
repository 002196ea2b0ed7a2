"""Raw completions: cutting invented questions, finding the answer sentence, removing calculator marks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kpodx.text.announcements import AnswerMarker, find_answer_markers
from kpodx.text.steps import count_steps, step_bounds

# A line that opens a new question; few-shot teachers run on into questions of their own.
_RUN_ON = re.compile(
    r"\n[ \t>#*]{0,6}(?:(?:Q|Question|Problem|Exercise|Human|User)(?: ?\d{1,4})?[ *]{0,3}:|Q\d{0,4}[.)] |Q\s{0,3}\Z)",
    re.IGNORECASE,
)
_SPECIAL_TOKEN = re.compile(r"</s>|<\|(?:endoftext|im_end|eot_id|end_of_text|end)\|>|<end_of_turn>|<pad>")
_LEADING_A = re.compile(r"\s*+[*]{0,2}A[*]{0,2}:[*]{0,2}\s*+")
_LEADING_ANSWER = re.compile(r"\s*+[#*]{0,4} ?(?:Answer|Solution|Response)[*]{0,2}:[*]{0,2}\s*+", re.IGNORECASE)
_CALCULATOR = re.compile(r"<<[^<>\n=]{1,200}=[^<>\n]{0,200}>>")


def remove_calculator_marks(text: str) -> str:
    """`text` without GSM8K's calculator marks.

    >>> remove_calculator_marks("48/2 = <<48/2=24>>24 clips")
    '48/2 = 24 clips'
    """
    return _CALCULATOR.sub("", text)


def clean_completion(text: str) -> str:
    """A completion up to the first invented question or end-of-text token, without a leading "A:", stripped.

    A leading "Answer:" is taken off too where more than one step follows, since it then heads the whole reasoning.

    >>> clean_completion("\\nA: 2 + 3 = 5. The answer is 5.\\n\\nQ: There are 15 trees")
    '2 + 3 = 5. The answer is 5.'
    """
    special = _SPECIAL_TOKEN.search(text)
    text = text[: special.start()] if special else text
    # The search begins behind the first character, so that a newline before it makes an opening "Q:" count too.
    run_on = _RUN_ON.search("\n" + text)
    text = text[: max(run_on.start() - 1, 0)] if run_on else text
    leading = _LEADING_A.match(text)
    text = text[leading.end() :] if leading else text
    heading = _LEADING_ANSWER.match(text)
    if heading and count_steps(text[heading.end() :]) > 1:
        text = text[heading.end() :]
    return text.strip()


def split_completion(text: str) -> tuple[str, str]:
    """(reasoning, answer sentence) of a cleaned completion.

    The answer sentence is the last step with an explicit marker; where reasoning precedes the marker in that step
    ("3 + 5 = 8, so the answer is 8."), the step is cut at the marker's clause. What follows the sentence stays with the
    reasoning. Without a marker the answer sentence is "".

    >>> split_completion("2 + 3 = 5. So the answer is (c) five.")
    ('2 + 3 = 5.', 'So the answer is (c) five.')
    """
    return split_and_count(text)[:2]


def split_and_count(text: str) -> tuple[str, str, int]:
    """What `split_completion` gives, and the number of steps of the reasoning, which `count_steps` would find too, but later.

    >>> split_and_count("2 + 3 = 5. So the answer is (c) five.")
    ('2 + 3 = 5.', 'So the answer is (c) five.', 1)
    """
    markers = find_answer_markers(text)
    if not markers:
        return text.strip(), "", count_steps(text.strip())
    last = markers[-1]
    steps = step_bounds(text)
    index = next(i for i, (_, stop) in enumerate(steps) if stop > last.start)
    start, stop = _clause_start(text, markers, steps[index][0]), _sentence_stop(text, last, steps, index)
    before, after = text[:start].rstrip(" \t\n,;:-–—$\\[(").strip(), text[stop:].strip()
    reasoning = "\n".join(part for part in (before, after) if part)
    # Most often whole steps stand before the answer's own, and nothing behind it: then they are counted already.
    is_counted = start == steps[index][0] and not after
    return reasoning, text[start:stop].strip(), index if is_counted else count_steps(reasoning)


def _clause_start(text: str, markers: list[AnswerMarker], step_start: int) -> int:
    """Where the answer's clause begins in the step at `step_start`: at its first marker, or at the step if one word precedes it."""
    first = next(marker for marker in markers if marker.start >= step_start)
    words = re.findall(r"\w+", text[step_start : first.start])
    return step_start if len(words) <= 1 else first.start


def _sentence_stop(text: str, marker: AnswerMarker, steps: Sequence[tuple[int, int]], index: int) -> int:
    """Where the answer sentence ends: with the step where something follows the marker ("Answer:" may stand alone)."""
    for start, stop in steps[index:]:
        if any(map(str.isalnum, text[max(marker.stop, start) : stop])):
            return stop
    return len(text)
