"""Which rationales grow at one stage: a submodular function under a knapsack (equations 12 and 13).

The costs ΔH are modular and the diversity term depends only on how many rationales of each cluster are taken. So inside
a cluster the cheapest remaining rationale always has the best gain per cost, and the r-th one taken from a cluster has

    density = (cost + β(√r - √(r-1))) / cost = 1 + β(√r - √(r-1)) / cost,

which falls with r because costs rise and √ is concave. Merging K falling lists is sorting them: the whole density
greedy is one sort and one cumulative sum, whatever the number of rationales.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Integer


def diversity_gain(num_taken: Integer[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """√(n+1) - √n, written as 1 / (√(n+1) + √n): no digits cancel, so it never rises with n."""
    return 1.0 / (np.sqrt(num_taken + 1.0) + np.sqrt(num_taken))


def selection_value(
    costs: Float64[np.ndarray, " selected"], clusters: Integer[np.ndarray, " selected"], diversity_coef: float
) -> float:
    """F(S) = ΔH(S) + β Σ_k √|C_k ∩ S|, equation 12 without its constant -ΔD.

    The constant does not change which set is best, but with it F(∅) < 0, where the guarantee of the greedy assumes
    a function that is not negative.

    Args:
        costs: ΔH of the selected rationales, in nats.
        clusters: the cluster of each selected rationale, ≥ 0.
        diversity_coef: β ≥ 0, in nats.

    >>> selection_value(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]), 10.0) == 6 + 10 * (2**0.5 + 1)
    True
    """
    counts = np.bincount(clusters) if clusters.size else np.zeros(1)
    return float(costs.sum() + diversity_coef * np.sqrt(counts).sum())


def density_order(
    costs: Float64[np.ndarray, " items"], clusters: Integer[np.ndarray, " items"], diversity_coef: float
) -> Integer[np.ndarray, " items"]:
    """The order in which the density greedy considers items: best gain per cost first.

    Ties go to the lower cluster number, then the lower cost, then the lower index. Items of cost 0 have infinite
    density and come first.

    Args:
        costs: ΔH of each item, in nats, finite, ≥ 0.
        clusters: the cluster of each item, ≥ 0.
        diversity_coef: β > 0; at 0 every density is 1 and there is no order.

    Returns:
        item indices, best first.
    """
    assert diversity_coef > 0.0, "without a diversity term all densities are equal"
    by_cluster = np.lexsort((costs, clusters))
    rank = _rank_in_cluster(clusters[by_cluster])
    with np.errstate(divide="ignore", over="ignore"):
        density = diversity_coef * diversity_gain(rank) / costs[by_cluster]
    return by_cluster[np.argsort(-density, kind="stable")]


def first_fit(
    order: Integer[np.ndarray, " items"], costs: Float64[np.ndarray, " all"], budget: float
) -> Integer[np.ndarray, " picks"]:
    """Go through `order` and take every item that still fits the budget; no loop over items.

    A prefix is taken by its cumulative cost up to the first item that does not fit; then all items that cost more than
    what is left are dropped at once, as the budget only shrinks, and the rest is gone through in the same way. In a
    density order a failed item closes its cluster, so there are at most K + 1 rounds.

    Args:
        order: indices into `costs`, each at most once.
        costs: in nats, finite, ≥ 0.
        budget: in nats.

    Returns:
        the items taken, in the order they were taken; equal, to the last bit, to adding costs one by one.
    """
    taken: list[np.ndarray] = []
    spent = 0.0
    while order.size:
        running = np.cumsum(np.concatenate([[spent], costs[order]]))[1:]
        num_fitting = int(np.searchsorted(running, budget, side="right"))
        if num_fitting:
            taken.append(order[:num_fitting])
            spent = float(running[num_fitting - 1])
        rest = order[num_fitting + 1 :]
        order = rest[spent + costs[rest] <= budget]
    return np.concatenate(taken) if taken else order


def select_greedy_max(
    costs: Float64[np.ndarray, " items"],
    clusters: Integer[np.ndarray, " items"],
    budget: float,
    diversity_coef: float,
) -> Integer[np.ndarray, " picks"]:
    """Maximise F(S) subject to Σ costs ≤ budget (equation 13) to at least half of the optimum.

    Greedy+Max: beside the density greedy itself, every prefix of it is completed by the single item that adds most and
    still fits, and the best of all these sets is returned. Reference: Yaroslavtsev, Zhou and Avdiukhin, Bring Your Own
    Greedy+Max, AISTATS 2020. (The density greedy or the best single item, whichever is better, only guarantees less.)

    Args:
        costs: ΔH of each item, in nats, finite, ≥ 0.
        clusters: the cluster of each item, ≥ 0.
        budget: ΔD, in nats.
        diversity_coef: β > 0, in nats.

    Returns:
        the selected items in the order they were picked.
    """
    picks = first_fit(density_order(costs, clusters, diversity_coef), costs, budget)
    spent = np.concatenate([[0.0], np.cumsum(costs[picks])])
    spread = np.concatenate([[0.0], np.cumsum(diversity_coef * diversity_gain(_rank_in_cluster(clusters[picks])))])
    # A completed prefix is worth at most budget + its spread + β, so only the last few prefixes can beat the greedy.
    start = int(np.argmax(spread + budget + diversity_coef >= spread[-1] + spent[-1]))
    left = np.delete(np.arange(len(costs)), picks[:start])
    left = left[costs[left] <= budget - spent[start]]
    best_value, best = float(spread[-1] + spent[-1]), picks
    for cluster in np.unique(clusters[left]):
        items = left[clusters[left] == cluster]
        items = items[np.argsort(costs[items], kind="stable")]
        # The greedy takes a cluster's cheapest items first, so the count of those taken also tells which they are.
        num_taken = np.concatenate([[0], np.cumsum(clusters[picks[start:]] == cluster)])
        dearest = np.searchsorted(costs[items], budget - spent[start:], side="right") - 1
        prefix = np.flatnonzero(dearest >= num_taken)
        if not prefix.size:
            continue
        last = items[dearest[prefix]]
        num_before = np.count_nonzero(clusters[picks[:start]] == cluster) + num_taken[prefix]
        value = (spent + spread)[start:][prefix] + costs[last] + diversity_coef * diversity_gain(num_before)
        at = int(np.argmax(value))
        if value[at] > best_value:
            best_value, best = float(value[at]), np.append(picks[: start + prefix[at]], last[at])
    return best


def _rank_in_cluster(clusters: Integer[np.ndarray, " items"]) -> Integer[np.ndarray, " items"]:
    """How many earlier entries hold the same cluster, for each entry."""
    order = np.argsort(clusters, kind="stable")
    _, starts, sizes = np.unique(clusters[order], return_index=True, return_counts=True)
    rank = np.empty(len(clusters), dtype=np.int64)
    rank[order] = np.arange(len(clusters)) - np.repeat(starts, sizes)
    return rank
