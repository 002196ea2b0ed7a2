"""The selection of one stage as its definition says it, one item at a time: slow, and obviously right.

Tests and the schedule benchmark hold the vectorised selection of `kpodx.scheduling.selection` against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def naive_greedy(
    costs: Sequence[float], clusters: Sequence[int], budget: float, diversity_coef: float
) -> tuple[list[int], float]:
    """The picks of the density greedy in order, and the value of the best set that Greedy+Max sees.

    Every round looks at all items that are left: the best density (ties: lower cluster, then cost, then index) is taken
    if it fits and dropped if not. In each round the item that adds most and fits is also tried as a last item.
    """
    left = set(range(len(costs)))
    num_taken = dict.fromkeys(clusters, 0)
    picks: list[int] = []
    spent, value, best_value = 0.0, 0.0, 0.0

    def gain(item: int) -> float:
        taken = num_taken[clusters[item]]
        return diversity_coef * (1.0 / (math.sqrt(taken + 1.0) + math.sqrt(taken)))

    def preference(item: int) -> tuple[float, int, float, int]:
        density = gain(item) / costs[item] if costs[item] > 0 else math.inf
        return (-density, clusters[item], costs[item], item)

    while left:
        for item in left:
            if spent + costs[item] <= budget:
                best_value = max(best_value, value + costs[item] + gain(item))
        item = min(left, key=preference)
        left.remove(item)
        if spent + costs[item] <= budget:
            value += costs[item] + gain(item)
            spent += costs[item]
            num_taken[clusters[item]] += 1
            picks.append(item)
    return picks, best_value
