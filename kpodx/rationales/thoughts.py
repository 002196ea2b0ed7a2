"""Which part of a reasoning model's text becomes the rationale: `rationales.thoughts`.

Completions are kept as the teacher wrote them. The choice is made when they become candidates, so that another choice asks
for nothing again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from kpodx.rationales.config import ThoughtChoice
from kpodx.rationales.filtering import Candidate
from kpodx.rationales.requests import judge_text
from kpodx.text.announcements import find_answer_markers
from kpodx.text.thoughts import Separated


def choose(candidate: Candidate, parts: Separated, choice: ThoughtChoice) -> Candidate:
    """Return the candidate with the part of its text that the settings ask for.

    The answer is read from what follows the thought; from the thought's own conclusion only if nothing follows.

    Args:
        candidate: its completion is the explanation, with the answer if that was asked for alone.
        parts: the teacher's text, taken apart.
        choice: which part becomes the rationale.
    """
    dropped = {"drop": len(parts.thought), "only": len(parts.explanation.strip()), "keep": 0}[choice]
    origin = replace(candidate.origin, thought_characters=len(parts.thought), dropped_characters=dropped)
    candidate = replace(candidate, origin=origin)
    if parts.is_unclosed:
        return replace(candidate, completion=parts.thought, failure="length")
    if judge_text(candidate.completion, None, None) == "refusal":
        return replace(candidate, failure="refusal")
    if choice == "only" and not parts.thought:
        return replace(candidate, failure="no_thought")
    if choice == "drop" or not parts.thought:
        return candidate
    if candidate.completion.strip():
        return replace(candidate, thought=parts.thought, is_thought_alone=choice == "only")
    return replace(candidate, completion=conclusion(parts.thought), thought=parts.thought, is_thought_alone=True)


def conclusion(thought: str) -> str:
    """Return the end of a thought that stands alone: its last announcement of an answer, else its last paragraph.

    >>> conclusion("Is the answer 4? No.\\n\\nFinal answer: 5.")
    'Final answer: 5.'
    """
    markers = find_answer_markers(thought)
    start = markers[-1].start if markers else thought.rstrip().rfind("\n\n") + 1
    return thought[start:].strip()


@dataclass(frozen=True)
class ThoughtCounts:
    """What became of thoughts.

    Attributes:
        completions: completions with a thought.
        unclosed: those whose thought has no end.
        characters: length of all thoughts.
        dropped_characters: how much was left out, of thoughts or of explanations, as the choice has it.
    """

    completions: int = 0
    unclosed: int = 0
    characters: int = 0
    dropped_characters: int = 0


def count_thoughts(candidates: Iterable[Candidate]) -> ThoughtCounts:
    """Count the thoughts of candidates."""
    given = [candidate for candidate in candidates if candidate.origin.thought_characters]
    return ThoughtCounts(
        len(given),
        sum(candidate.failure == "length" for candidate in given),
        sum(candidate.origin.thought_characters for candidate in given),
        sum(candidate.origin.dropped_characters for candidate in given),
    )


def describe_thoughts(candidates: Iterable[Candidate], choice: ThoughtChoice) -> dict[str, object]:
    """Return the report's part about thoughts: empty if no completion had one."""
    counts = count_thoughts(candidates)
    return {"thoughts": {"choice": choice, **asdict(counts)}} if counts.completions else {}
