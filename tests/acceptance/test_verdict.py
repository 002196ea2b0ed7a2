"""Held, lost, undecided: by hand, at the edges, and by how often the test errs."""

from __future__ import annotations

import numpy as np
import pytest

from kpodx.acceptance.verdict import flips, judge_package, least_questions
from kpodx.schema import Prediction


def sides(both: int, gained: int, lost: int, neither: int = 0) -> tuple[list[bool], list[bool]]:
    """Answers of a student and of its package, by kind of pair."""
    pairs = [(True, True)] * both + [(False, True)] * gained + [(True, False)] * lost + [(False, False)] * neither
    return [student for student, _ in pairs], [package for _, package in pairs]


def test_a_package_that_says_the_same_is_held_where_questions_suffice() -> None:
    """Without a flip the lower end is -z² / (n + z²), z = 1.645: -0.0199 at 133 questions, -0.0201 at 132."""
    assert least_questions(0.02, 0.95) == 133
    enough = judge_package(*sides(100, 0, 0, 33), margin=0.02, confidence=0.95)
    assert (enough.word, enough.difference, enough.p_value, enough.more_questions) == ("held", 0.0, 1.0, None)
    assert enough.low == pytest.approx(-(1.6448536**2) / (133 + 1.6448536**2), abs=1e-6)
    few = judge_package(*sides(100, 0, 0, 32), margin=0.02, confidence=0.95)
    assert (few.word, few.more_questions) == ("undecided", pytest.approx(1, abs=2))


def test_a_ruined_package_is_lost() -> None:
    verdict = judge_package(*sides(50, 2, 40, 8), margin=0.02, confidence=0.95)
    assert (verdict.word, verdict.gained, verdict.lost) == ("lost", 2, 40)
    assert verdict.high < -0.2
    assert verdict.p_value < 1e-6
    assert verdict.bootstrap[0] < verdict.difference < verdict.bootstrap[1]


def test_more_questions_at_the_same_rates_do_decide() -> None:
    verdict = judge_package(*sides(440, 12, 17, 31), margin=0.02, confidence=0.95)
    assert verdict.word == "undecided"
    assert verdict.more_questions is not None
    scale = (500 + verdict.more_questions) / 500
    more = judge_package(*sides(*(round(n * scale * 1.02) for n in (440, 12, 17, 31))), margin=0.02, confidence=0.95)
    assert more.word == "held"
    on_the_edge = judge_package(*sides(96, 0, 2, 2), margin=0.02, confidence=0.95)
    assert (on_the_edge.word, on_the_edge.more_questions) == ("undecided", None)


def test_a_package_at_the_margin_is_rarely_held() -> None:
    """The level: where it is worse by exactly the margin, `held` may come in 5 of 100 sets, give or take."""
    rng = np.random.default_rng(0)
    draws = rng.multinomial(500, [0.8, 0.03, 0.05, 0.12], size=400)
    words = [judge_package(*sides(*map(int, draw)), margin=0.02, confidence=0.95).word for draw in draws]
    assert words.count("held") / len(words) < 0.08
    assert words.count("lost") / len(words) < 0.08


def test_a_flip_names_the_step_that_went_another_way() -> None:
    def said(output: str, correct: bool) -> Prediction:
        return Prediction("q", output, None, correct, 2)

    right = said("He has 3. He buys 4. So it is 7. Therefore, the answer is 7.", True)
    wrong = said("He has 3. He buys 5. So it is 8. Therefore, the answer is 8.", False)
    (flip,) = flips([right, right], [wrong, right])
    assert (flip.by, flip.step, flip.expected, flip.got) == ("student", 1, "He buys 4.", "He buys 5.")
    (back,) = flips([said("He has 3.", False)], [right])
    assert (back.by, back.step, back.expected, back.got) == ("package", 1, "", "He buys 4.")
