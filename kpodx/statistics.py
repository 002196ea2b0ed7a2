"""Intervals, paired tests and rank statistics, in numpy and the standard library.

Two accuracies side by side prove nothing at the sizes of the usual test sets (one standard error is 1.6 points on 659
questions): every comparison in kpodx is paired per question and comes with an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_EXACT_RANK_LIMIT = 40
"""Up to so many values in all, the p-value of a rank separation is exact; it costs a moment."""


def wilson_interval(successes: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion.

    With p = successes / total, n = total and z the normal quantile of (1 + confidence) / 2, the bounds are
    `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`. Unlike p ± z√(p(1-p)/n) it stays in [0, 1] and keeps a
    width at p = 0 and p = 1. Reference: Wilson, JASA 22 (1927).

    Args:
        successes: how many were right, 0 ≤ successes ≤ total.
        total: how many there were; 0 knows nothing and gives (0, 1).
        confidence: coverage in (0, 1).

    >>> low, high = wilson_interval(5, 10)
    >>> round(low, 4), round(high, 4)
    (0.2366, 0.7634)
    """
    assert 0 <= successes <= total, f"{successes} successes out of {total}"
    assert 0.0 < confidence < 1.0, f"confidence {confidence} is not in (0, 1)"
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    share = successes / total
    scale = 1.0 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half_width = z * math.sqrt(share * (1.0 - share) / total + z * z / (4 * total * total)) / scale
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == total else centre + half_width
    return low, high


def exact_mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided exact McNemar p-value that two paired systems are equally accurate.

    Only the questions on which they disagree count: under equality each falls to either side like a fair coin, so
    p = min(1, 2 P(X ≤ min(only_first, only_second))), X ~ Binomial(only_first + only_second, ½).
    Reference: McNemar, Psychometrika 12 (1947).

    Args:
        only_first: questions that only the first answered right, ≥ 0.
        only_second: questions that only the second answered right, ≥ 0.

    >>> exact_mcnemar(1, 5)
    0.21875
    """
    assert only_first >= 0, f"only_first is {only_first}"
    assert only_second >= 0, f"only_second is {only_second}"
    total = only_first + only_second
    term, tail = 1, 1
    for k in range(1, min(only_first, only_second) + 1):
        term = term * (total - k + 1) // k
        tail += term
    return min(1.0, 2 * tail / 2**total)


def paired_bootstrap(
    first: Sequence[bool] | npt.NDArray[np.bool_],
    second: Sequence[bool] | npt.NDArray[np.bool_],
    seed: int,
    *,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The percentile bootstrap interval of accuracy(first) - accuracy(second), resampling questions in pairs.

    A question's difference is -1, 0 or 1, so resampling questions is the same as drawing how often each of the three
    occurs from a multinomial distribution, which is what is done: the cost does not grow with the number of questions.
    Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    Args:
        first: whether the first system was right, [num_questions].
        second: whether the second was right on the same questions in the same order.
        seed: seed of the resampling.
        num_resamples: how many resamples are drawn, ≥ 1.
        confidence: coverage in (0, 1).

    Returns:
        (low, high), both in [-1, 1].
    """
    assert len(first) == len(second) > 0, f"{len(first)} and {len(second)} answers cannot be paired"
    difference = np.asarray(first, dtype=np.int64) - np.asarray(second, dtype=np.int64)
    values, counts = np.unique(difference, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(difference), counts / len(difference), size=num_resamples)
    resampled = drawn @ values / len(difference)
    low, high = np.quantile(resampled, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return float(low), float(high)


@dataclass(frozen=True)
class BootstrapInterval:
    """A percentile interval of a mean difference, and the two-sided p-value that it is 0."""

    low: float
    high: float
    p_value: float


def crossed_bootstrap(
    difference: npt.NDArray[np.float64], seed: int, *, num_resamples: int = 10_000, confidence: float = 0.95
) -> BootstrapInterval:
    """Return the bootstrap interval of a mean difference over seeds and questions, both resampled.

    Each resample draws rows (seeds) and columns (questions) with replacement and takes the mean of the drawn cells, so
    the interval covers other training seeds and other questions alike. With few seeds it is somewhat too narrow.
    The p-value is twice the smaller share of resamples on either side of 0, counting the observed one.
    Reference: Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007).

    Args:
        difference: paired differences in [-1, 1], [num_seeds, num_questions], neither of them 0.
        seed: seed of the resampling.
        num_resamples: how many resamples are drawn, at least 1.
        confidence: coverage in (0, 1).

    >>> crossed_bootstrap(np.ones((3, 20)), 0).low
    1.0
    """
    num_seeds, num_questions = difference.shape
    assert num_seeds > 0 < num_questions, f"{num_seeds} seeds and {num_questions} questions cannot be resampled"
    rng = np.random.default_rng(seed)
    means = []
    # In parts, so that the counts of 10,000 resamples of many questions never stand in memory at once.
    for start in range(0, num_resamples, 1000):
        count = min(1000, num_resamples - start)
        rows = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=count)
        columns = rng.multinomial(num_questions, np.full(num_questions, 1 / num_questions), size=count)
        means.append(((rows @ difference) * columns).sum(axis=1) / (num_seeds * num_questions))
    resampled = np.concatenate(means)

    low, high = np.quantile(resampled, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    below = (1 + int((resampled <= 0).sum())) / (num_resamples + 1)
    above = (1 + int((resampled >= 0).sum())) / (num_resamples + 1)
    return BootstrapInterval(float(low), float(high), min(1.0, 2 * min(below, above)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the same order.

    The k-th smallest of m is multiplied by m - k + 1, never falls below a smaller one's, and is at most 1.
    Reference: Holm, Scand. J. Statist. 6 (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        corrected[place] = largest
    return corrected


def tango_interval(only_first: int, only_second: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of accuracy(first) - accuracy(second) on the same questions.

    The bounds are the differences d at which the score statistic of H0: p₁₂ - p₂₁ = d,
    `(b - c - nd) / √(n (2 q + d(1-d)))`, is ± the normal quantile; q, the second discordant probability under H0, is the root
    `(√(B² - 4AC) - B) / 2A` of A = 2n, B = -b - c + (2n - b + c) d, C = -c d (1-d). Unlike a bootstrap's it has a width
    where no question differs, so that few questions prove nothing. Reference: Tango, Statistics in Medicine 17 (1998).

    Args:
        only_first: questions that only the first answered right (b).
        only_second: questions that only the second answered right (c).
        total: questions in all (n), at least 1.
        confidence: coverage in (0, 1).

    >>> low, high = tango_interval(12, 2, 50)
    >>> round(low, 3), round(high, 3)
    (0.061, 0.345)
    """
    assert only_first >= 0, f"only_first is {only_first}"
    assert only_second >= 0, f"only_second is {only_second}"
    assert 0 < total >= only_first + only_second, f"{only_first} and {only_second} of {total}"
    assert 0.0 < confidence < 1.0, f"confidence {confidence} is not in (0, 1)"
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    observed = (only_first - only_second) / total

    def score(difference: float) -> float:
        b = -only_first - only_second + (2 * total - only_first + only_second) * difference
        c = -only_second * difference * (1.0 - difference)
        q = (math.sqrt(max(b * b - 8.0 * total * c, 0.0)) - b) / (4.0 * total)
        variance = total * (2.0 * q + difference * (1.0 - difference))
        gap = only_first - only_second - total * difference
        return math.copysign(math.inf, gap) if variance <= 0.0 and gap else gap / math.sqrt(variance) if gap else 0.0

    def bound(outside: float, target: float) -> float:
        inside = observed
        for _ in range(80):
            middle = (inside + outside) / 2.0
            inside, outside = (middle, outside) if abs(score(middle)) < target else (inside, middle)
        return inside

    return bound(-1.0, z), bound(1.0, z)


def _doubled_ranks(high: npt.ArrayLike, low: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Twice the mid-ranks of all values (`high` first), the sizes of the groups of ties, and the size of `high`."""
    first, second = np.ravel(np.asarray(high, dtype=np.float64)), np.ravel(np.asarray(low, dtype=np.float64))
    assert first.size > 0, "`high` is empty: nothing to rank"
    assert second.size > 0, "`low` is empty: nothing to rank"
    _, group, group_sizes = np.unique(np.concatenate([first, second]), return_inverse=True, return_counts=True)
    return (2 * np.cumsum(group_sizes) - group_sizes + 1)[group], group_sizes, first.size


def rank_separation(high: npt.ArrayLike, low: npt.ArrayLike) -> float:
    """The probability that a random member of `high` is larger than a random member of `low`; ties count half.

    It is the Mann-Whitney statistic U / (|high| |low|), also called AUC: 1 = perfectly separated, ½ = no order,
    0 = perfectly separated the other way. Reference: Mann and Whitney, Ann. Math. Statist. 18 (1947).

    Args:
        high: finite values of the group expected on top, any shape, not empty.
        low: finite values of the other group, any shape, not empty.

    >>> rank_separation([3, 4], [1, 3])
    0.875
    """
    ranks, _, num_high = _doubled_ranks(high, low)
    smallest = num_high * (num_high + 1)
    return float((ranks[:num_high].sum() - smallest) / (2 * num_high * (len(ranks) - num_high)))


def rank_separation_p_value(high: npt.ArrayLike, low: npt.ArrayLike) -> float:
    """The two-sided p-value that `rank_separation(high, low)` is ½ by chance.

    Exact (over all ways to deal the observed values to the two groups, ties included) up to 40 values in all, else the
    normal approximation with corrections for ties and continuity. Assumes independent values.

    >>> round(rank_separation_p_value([4, 5, 6], [1, 2, 3]), 6)
    0.1
    """
    ranks, group_sizes, num_high = _doubled_ranks(high, low)
    if len(ranks) <= _EXACT_RANK_LIMIT:
        return _exact_rank_p(ranks, num_high)
    return _normal_rank_p(ranks, group_sizes, num_high)


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Spearman's rank correlation of paired values: Pearson's correlation of their mid-ranks, in [-1, 1].

    It is None if there are fewer than two pairs or if one side is constant. Reference: Spearman, Am. J. Psychol. 15 (1904).

    Args:
        first: finite values, any shape.
        second: their partners, the same shape.

    >>> rank_correlation([1, 2, 3, 4], [10, 20, 40, 30])
    0.8
    """
    pairs = np.stack([_mid_ranks(first), _mid_ranks(second)])
    centered = pairs - pairs.mean(axis=1, keepdims=True) if pairs.size else pairs
    spread = float(np.sqrt((centered**2).sum(axis=1).prod()))
    return None if spread == 0 else float((centered[0] * centered[1]).sum() / spread)


def _mid_ranks(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The rank of each value from 1; equal values share their mean rank."""
    flat = np.ravel(np.asarray(values, dtype=np.float64))
    _, group, sizes = np.unique(flat, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return ranks


def _exact_rank_p(ranks: npt.NDArray[np.int64], num_high: int) -> float:
    """P(|S - E S| ≥ |observed - E S|) for S the sum of `num_high` of the doubled ranks drawn without replacement."""
    num_ways = np.zeros((num_high + 1, int(ranks.sum()) + 1))
    num_ways[0, 0] = 1.0
    for rank in ranks:
        num_ways[1:, rank:] += num_ways[:-1, :-rank].copy()
    expected = num_high * (len(ranks) + 1)
    deviation = abs(int(ranks[:num_high].sum()) - expected)
    extreme = np.abs(np.arange(num_ways.shape[1]) - expected) >= deviation
    return float(num_ways[num_high, extreme].sum() / num_ways[num_high].sum())


def _normal_rank_p(ranks: npt.NDArray[np.int64], group_sizes: npt.NDArray[np.int64], num_high: int) -> float:
    """The normal approximation of `_exact_rank_p`, corrected for ties and continuity."""
    num_values = len(ranks)
    num_pairs = num_high * (num_values - num_high)
    sizes = group_sizes.astype(np.float64)
    ties = float((sizes**3 - sizes).sum()) / (num_values * (num_values - 1))
    deviation = abs(int(ranks[:num_high].sum()) - num_high * (num_values + 1)) / 2.0
    variance = num_pairs / 12.0 * (num_values + 1 - ties)
    if variance <= 0.0:
        return 1.0
    return math.erfc(max(deviation - 0.5, 0.0) / math.sqrt(2.0 * variance))
