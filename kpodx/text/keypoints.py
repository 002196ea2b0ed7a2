"""Which characters of a text are keypoints."""

from __future__ import annotations

from kpodx.schema import Question, Span


def gold_keypoints(question: Question, text: str) -> tuple[Span, ...] | None:
    """Return the marked keypoints of `text` if it is the head of one of the question's gold rationales, else None.

    >>> from kpodx.schema import Split
    >>> gold, spans = "Add 3 + 4 = 7. So 7.", ((4, 13), (18, 19))
    >>> question = Question("q", Split.TRAIN, "?", "7", gold_rationales=(gold,), gold_keypoints=(spans,))
    >>> gold_keypoints(question, "Add 3 + 4 = 7.")
    ((4, 13),)
    """
    for gold, spans in zip(question.gold_rationales, question.gold_keypoints, strict=False):
        if gold.startswith(text):
            return tuple(span for span in spans if span[1] <= len(text))
    return None
