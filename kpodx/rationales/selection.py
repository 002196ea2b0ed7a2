"""Which of a question's rationales agree, and which differ most."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kpodx.schema import AnswerKind
from kpodx.text.answers import answers_equal

_TAKEN = -1.0
"""Below every distance: what is chosen already is never the farthest."""


def commonest_answer(answers: Sequence[str | None], kind: AnswerKind) -> tuple[str | None, float]:
    """The answer that most samples give, and its share of all samples: self-consistency (Wang et al. 2023).

    Args:
        answers: of each sample; None where none could be read, which counts against every answer.
        kind: how answers are compared.

    >>> commonest_answer(["5", "6", "5.0", None], AnswerKind.NUMBER)
    ('5', 0.5)
    """
    groups: list[tuple[str, int]] = []
    for answer in answers:
        if answer is None:
            continue
        for row, (other, count) in enumerate(groups):
            if answers_equal(answer, other, kind):
                groups[row] = (other, count + 1)
                break
        else:
            groups.append((answer, 1))
    if not groups:
        return None, 0.0
    # The first of equally common ones: max keeps it.
    answer, count = max(groups, key=lambda group: group[1])
    return answer, count / len(answers)


def most_diverse(texts: Sequence[str], count: int) -> list[int]:
    """Indices of `count` texts whose words differ most, ascending: the first, then always the one farthest from those chosen.

    The distance is Jaccard's: 1 - (shared words / all words of both). The greedy rule is a 2-approximation of the largest least
    distance (Gonzalez 1985).

    >>> most_diverse(["a b", "a b c", "x y"], 2)
    [0, 2]
    """
    words = [frozenset(re.findall(r"\w+", text.casefold())) for text in texts]
    if count >= len(texts):
        return list(range(len(texts)))
    chosen = [0]
    nearest = [_distance(words[0], other) for other in words]
    nearest[0] = _TAKEN
    while len(chosen) < count:
        farthest = max(range(len(texts)), key=nearest.__getitem__)
        chosen.append(farthest)
        nearest = [min(old, _distance(words[farthest], other)) for old, other in zip(nearest, words, strict=True)]
        nearest[farthest] = _TAKEN
    return sorted(chosen)


def _distance(one: frozenset[str], other: frozenset[str]) -> float:
    union = len(one | other)
    return 1 - len(one & other) / union if union else 0.0
