"""Intervals and tests against numbers worked by hand and against scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.statistics import (
    crossed_bootstrap,
    exact_mcnemar,
    holm,
    paired_bootstrap,
    rank_separation,
    rank_separation_p_value,
    tango_interval,
    wilson_interval,
)


def test_wilson_by_hand() -> None:
    # p = 0.5, n = 10, z = 1.959964: centre 0.5, half width z sqrt(0.025 + z²/400) / (1 + z²/10) = 0.26341
    assert wilson_interval(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)


def test_wilson_at_the_ends() -> None:
    # at p = 0 the upper bound is z² / (n + z²)
    z2 = 1.959963984540054**2
    assert wilson_interval(0, 20) == pytest.approx((0.0, z2 / (20 + z2)))
    assert wilson_interval(20, 20) == pytest.approx((20 / (20 + z2), 1.0))
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(1, 2000), st.data(), st.floats(0.5, 0.999))
@settings(deadline=None, max_examples=100)
def test_wilson_holds_the_share_and_mirrors(total: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.integers(0, total))
    low, high = wilson_interval(successes, total, confidence)
    assert 0.0 <= low <= successes / total <= high <= 1.0
    mirrored = wilson_interval(total - successes, total, confidence)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-12)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: 2 (C(6,0) + C(6,1)) / 64 = 14/64
    assert exact_mcnemar(1, 5) == 14 / 64
    assert exact_mcnemar(5, 1) == 14 / 64
    assert exact_mcnemar(0, 0) == 1.0
    assert exact_mcnemar(3, 3) == 1.0
    assert exact_mcnemar(0, 10) == 2 / 1024


def test_mcnemar_agrees_with_scipy_on_large_counts() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert exact_mcnemar(470, 530) == pytest.approx(stats.binomtest(470, 1000, 0.5).pvalue, rel=1e-9)


def test_bootstrap_of_equal_systems_is_a_point() -> None:
    right = [True, False, True]
    assert paired_bootstrap(right, right, seed=0) == (0.0, 0.0)


def test_bootstrap_is_paired() -> None:
    # the first is right wherever the second is, and on 40 of 400 more: the interval lies close to the binomial's
    second = np.arange(400) < 200
    first = np.arange(400) < 240
    low, high = paired_bootstrap(first, second, seed=1)
    half_width = 1.96 * np.sqrt(0.1 * 0.9 / 400)
    assert (low, high) == pytest.approx((0.1 - half_width, 0.1 + half_width), abs=0.004)
    assert paired_bootstrap(second, first, seed=1) == pytest.approx((-high, -low), abs=0.004)


def test_bootstrap_follows_its_seed() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(100) < 0.5, rng.random(100) < 0.4
    assert paired_bootstrap(first, second, seed=3) == paired_bootstrap(first, second, seed=3)
    assert paired_bootstrap(first, second, seed=3, num_resamples=50) != paired_bootstrap(
        first, second, seed=4, num_resamples=50
    )


@pytest.mark.parametrize("sizes", [(0, 0), (2, 3)])
def test_bootstrap_refuses_what_cannot_be_paired(sizes: tuple[int, int]) -> None:
    with pytest.raises(AssertionError, match="paired"):
        paired_bootstrap([True] * sizes[0], [True] * sizes[1], seed=0)


def test_rank_separation_by_hand() -> None:
    # pairs (3,1) (3,3) (4,1) (4,3): three wins and a tie
    assert rank_separation([3, 4], [1, 3]) == 3.5 / 4
    assert rank_separation([2, 2], [2, 2, 2]) == 0.5
    assert rank_separation([5], [1, 2, 3]) == 1.0
    assert rank_separation([0], [1, 2, 3]) == 0.0


values = st.lists(st.integers(0, 5), min_size=1, max_size=7)


@given(values, values)
@settings(deadline=None, max_examples=60)
def test_rank_separation_counts_pairs(high: list[int], low: list[int]) -> None:
    wins = sum((a > b) + (a == b) / 2 for a, b in itertools.product(high, low))
    assert rank_separation(high, low) == pytest.approx(wins / (len(high) * len(low)))
    assert rank_separation(low, high) == pytest.approx(1 - wins / (len(high) * len(low)))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.lists(st.integers(0, 4), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_exact_rank_p_enumerates_all_deals(high: list[int], low: list[int]) -> None:
    pooled = high + low
    observed = abs(rank_separation(high, low) - 0.5)
    deals = list(itertools.combinations(range(len(pooled)), len(high)))
    extreme = 0
    for deal in deals:
        chosen = [pooled[i] for i in deal]
        rest = [pooled[i] for i in range(len(pooled)) if i not in deal]
        extreme += abs(rank_separation(chosen, rest) - 0.5) >= observed - 1e-12
    assert rank_separation_p_value(high, low) == pytest.approx(extreme / len(deals))


def test_rank_p_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    high, low = rng.normal(0.3, 1, 18), rng.normal(0, 1, 20)
    exact = stats.mannwhitneyu(high, low, method="exact")
    assert rank_separation_p_value(high, low) == pytest.approx(exact.pvalue)
    assert rank_separation(high, low) == pytest.approx(exact.statistic / (18 * 20))
    tied_high, tied_low = rng.integers(1, 8, 60), rng.integers(0, 7, 70)
    asymptotic = stats.mannwhitneyu(tied_high, tied_low, method="asymptotic")
    assert rank_separation_p_value(tied_high, tied_low) == pytest.approx(asymptotic.pvalue)
    assert rank_separation_p_value(np.ones(50), np.ones(50)) == 1.0


@pytest.mark.parametrize(("high", "low"), [([], [1.0]), ([1.0], [])])
def test_rank_separation_refuses_an_empty_group(high: list[float], low: list[float]) -> None:
    with pytest.raises(AssertionError, match="empty"):
        rank_separation(high, low)


def test_tango_by_hand() -> None:
    # Without a flip the bounds are ± z² / (n + z²): 0.0803 of 44.
    z2 = 1.959963984540054**2
    assert tango_interval(0, 0, 44) == pytest.approx((-z2 / (44 + z2), z2 / (44 + z2)), abs=1e-9)
    # All flips to one side: the first is better, and no difference is larger than 1.
    low, high = tango_interval(44, 0, 44)
    assert (0.8 < low < 0.9, high) == (True, pytest.approx(1.0))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200), st.sampled_from([0.8, 0.9, 0.95]))
def test_tango_holds_the_observed_difference_and_turns_with_the_sides(b: int, c: int, rest: int, level: float) -> None:
    total = max(1, b + c + rest)
    low, high = tango_interval(b, c, total, level)
    assert -1.0 <= low <= (b - c) / total <= high <= 1.0
    assert tango_interval(c, b, total, level) == pytest.approx((-high, -low), abs=1e-9)
    wider = tango_interval(b, c, total, 0.99)
    assert wider[0] <= low + 1e-9
    assert wider[1] >= high - 1e-9


def test_tango_covers_the_truth() -> None:
    """Of 2,000 sets of 200 paired answers, about 95 in 100 intervals hold the true difference of -0.03."""
    draws = np.random.default_rng(0).multinomial(200, [0.04, 0.07, 0.89], size=2000)
    bounds = [tango_interval(int(b), int(c), 200) for b, c, _ in draws]
    assert np.mean([low <= -0.03 <= high for low, high in bounds]) == pytest.approx(0.95, abs=0.015)


def test_the_crossed_bootstrap_by_hand() -> None:
    """With one seed and two questions a resample's mean is -1, 0 or 1 with probability ¼, ½, ¼."""
    found = crossed_bootstrap(np.array([[1.0, -1.0]]), 0, confidence=0.4)
    assert (found.low, found.high) == (0.0, 0.0)
    assert found.p_value == 1.0
    wide = crossed_bootstrap(np.array([[1.0, -1.0]]), 0, confidence=0.95)
    assert (wide.low, wide.high) == (-1.0, 1.0)


def test_seeds_that_disagree_widen_the_crossed_interval() -> None:
    """The same mean over all cells; in the second table it depends on the seed."""
    agreeing = np.tile([1.0, 0.0], (4, 100))
    disagreeing = np.repeat([[1.0], [0.0], [1.0], [0.0]], 200, axis=1)
    narrow, wide = crossed_bootstrap(agreeing, 0), crossed_bootstrap(disagreeing, 0)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert narrow.low < 0.5 < narrow.high


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_crossed_p_value_sees_a_difference(shift: float) -> None:
    rng = np.random.default_rng(1)
    table = rng.choice([-1.0, 0.0, 1.0], p=[0.2 - shift / 2, 0.6, 0.2 + shift / 2], size=(5, 400))
    found = crossed_bootstrap(table, 0)
    assert (found.p_value < 0.001) == (shift > 0)
    assert (found.low > 0) == (shift > 0)
    assert crossed_bootstrap(table, 0) == found


def test_holm_by_hand_and_its_properties() -> None:
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values: list[float]) -> None:
    corrected = holm(values)
    assert all(new >= old for new, old in zip(corrected, values, strict=True))
    assert all(new <= 1 for new in corrected)
    order = sorted(range(len(values)), key=lambda place: values[place])
    assert [corrected[place] for place in order] == sorted(corrected)
