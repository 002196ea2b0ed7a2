"""What a teacher may cost: sums by hand, caps that hold whatever the order, and a log that survives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.errors import DataError, RunError
from kpodx.rationales.requests import Message, Request, Usage
from kpodx.rationales.spending import Budget, Prices, Spending, estimate


def request(text: str = "abcd", max_tokens: int = 10) -> Request:
    """A request whose prompt is bounded by 64 + 16 + len(text) tokens."""
    return Request("m", (Message("user", text),), {"max_tokens": max_tokens})


def test_by_hand(tmp_path: Path) -> None:
    spending = Spending(tmp_path / "s.jsonl", Prices(1.0, 2.0), Budget(tokens=200))
    first = spending.reserve(request())
    assert first == 0, "84 + 10 = 94 fit into 200"
    assert spending.reserve(request()) == 1, "188 fit too"
    assert spending.reserve(request()) is None, "282 do not"
    assert (spending.tokens, spending.under_way) == (0, 2)
    spending.settle(0, Usage(5, 7))
    assert (spending.tokens, spending.usd) == (12, pytest.approx((5 + 2 * 7) / 1e6))
    assert spending.reserve(request()) == 2, "12 + 94 + 94 fit again"
    spending.settle(1, None)
    assert spending.tokens == 12 + 94, "an unknown end counts at its bound"
    spending.close()


def test_the_cap_in_dollars(tmp_path: Path) -> None:
    spending = Spending(tmp_path / "s.jsonl", Prices(1.0, 2.0), Budget(usd=104e-6))
    assert spending.reserve(request()) == 0, "84 * 1 + 10 * 2 = 104 millionths"
    spending.settle(0, Usage(0, 1))
    assert spending.reserve(request()) is None
    spending.close()


def test_what_was_under_way_at_a_kill_counts_at_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    spending = Spending(path, Prices(), Budget())
    for number, usage in enumerate((Usage(1, 2), None)):
        assert spending.reserve(request()) == number
        if usage:
            spending.settle(number, usage)
    spending.close()
    with path.open("a") as stream:
        stream.write('{"sent":2,"bou')
    again = Spending(path, Prices(), Budget(tokens=3 + 94 + 94))
    assert (again.tokens, again.under_way) == (3 + 94, 0)
    assert again.reserve(request()) == 2
    again.settle_if_open(1, Usage(1, 1))
    assert again.tokens == 3 + 2, "its end is known after all"
    again.settle_if_open(1, Usage(9, 9))
    assert again.tokens == 5
    again.close()
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(("line", "error"), [('{"sent":0}', DataError), ("[1]", DataError), ("x", RunError)])
def test_a_log_that_somebody_changed_is_refused(tmp_path: Path, line: str, error: type[Exception]) -> None:
    (tmp_path / "s.jsonl").write_text(line + "\n")
    with pytest.raises(error, match=r"s\.jsonl"):
        Spending(tmp_path / "s.jsonl", Prices(), Budget())


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 50), st.floats(0, 1), st.booleans()), max_size=30),
    st.integers(0, 2000),
)
@settings(max_examples=60, deadline=None)
def test_no_order_of_requests_and_ends_breaks_a_cap(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, float, bool]], cap: int
) -> None:
    """Answers cost at most their bound; whatever is under way, all of it may turn out to cost that much."""
    spending = Spending(tmp_path_factory.mktemp("s") / "s.jsonl", Prices(), Budget(tokens=cap))
    under_way: list[tuple[int, Request]] = []
    for length, limit, share, ends in steps:
        asked = request("x" * length, limit)
        number = spending.reserve(asked)
        if number is not None:
            under_way.append((number, asked))
        worst = sum(r.max_prompt_tokens + r.max_tokens for _, r in under_way)
        assert spending.tokens + worst <= cap
        if ends and under_way:
            done, of = under_way.pop(0)
            spending.settle(done, Usage(int(share * of.max_prompt_tokens), int(share * of.max_tokens)))
    spending.close()


def test_estimates_by_hand() -> None:
    prices = Prices(10.0, 30.0)
    found = estimate([request("x" * 40, 100), request("x" * 80, 300)], 7, prices, None)
    assert (found.requests, found.max_requests, found.cached) == (2, 2, 7)
    assert found.tokens == 10 + 20 + 100 + 200
    assert found.max_tokens == (80 + 40) + (80 + 80) + 100 + 300
    assert found.usd == pytest.approx((30 * 10 + 300 * 30) / 1e6)
    assert found.max_usd == pytest.approx((280 * 10 + 400 * 30) / 1e6)
    seen = estimate([request("x" * 40, 100)], 0, prices, (0.5, 20.0), answer_max_tokens=8)
    assert (seen.tokens, seen.max_requests) == (20 + 20, 2)
    assert seen.max_tokens == 120 + 100 + (120 + 100 + 160) + 8


def test_nothing_to_ask_costs_nothing() -> None:
    assert estimate([], 3, Prices(1, 1), None).max_usd == 0


def test_what_exceeds_its_bound_raises_the_bounds_of_both_sides(tmp_path: Path) -> None:
    spending = Spending(tmp_path / "s.jsonl", Prices(), Budget(tokens=20_000))
    assert spending.reserve(request()) == 0
    assert spending.reserve(request()) == 1
    spending.settle(0, Usage(50, 5060))
    # 84 + 10 are expected to take 5050 more from now on, those under way too: 5110 + 5144 + 5144 = 15,398.
    assert spending.reserve(request()) == 2
    assert spending.reserve(request()) is None, "5110 + 3 x 5144 = 20,542"
    spending.settle(1, None)
    assert spending.tokens == 5110 + 5144, "nobody knows what it took: as much as was seen before"
    spending.settle(2, Usage(184, 5))
    assert spending.reserve(request()) == 3, "100 tokens of prompt more: 5110 + 5144 + 189 + 5244 = 15,687"
    spending.close()


def test_a_log_of_an_older_version_is_read_and_what_was_seen_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    records = [
        {"sent": 0, "key": "k", "bound": [84, 10]},
        {"sent": 1, "key": "l", "bound": [84, 10]},
        {"ended": 0, "tokens": [50, 5060]},
        {"sent": 2, "key": "m", "bound": [84, 5060]},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    spending = Spending(path, Prices(), Budget(tokens=5110 + 94 + 5144 + 5144))
    assert (spending.tokens, spending.under_way, spending.answers) == (5110 + 94 + 5144, 0, 0)
    assert spending.reserve(request()) == 3
    spending.close()
    again = Spending(path, Prices(), Budget(tokens=10**9))
    assert again.tokens == 5110 + 94 + 5144 + 5144, "it counts at the bound that it was reserved with"
    again.close()


def test_patience_under_a_cap(tmp_path: Path) -> None:
    spending = Spending(tmp_path / "s.jsonl", Prices(), Budget(tokens=10**6))
    assert not spending.wants_patience
    spending.reserve(request())
    assert spending.wants_patience, "the first answer tells what a request takes"
    spending.settle(0, Usage(5, 5))
    for number in (1, 2):
        assert not spending.wants_patience
        assert spending.reserve(request()) == number
    assert spending.wants_patience
    spending.settle(1, Usage(0, 0))
    assert not spending.wants_patience
    spending.close()
    free = Spending(tmp_path / "t.jsonl", Prices(), Budget())
    free.reserve(request())
    assert not free.wants_patience, "without a cap nothing waits"
    free.close()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.integers(1, 50),
            st.none() | st.tuples(st.integers(0, 3000), st.integers(0, 9000)),
            st.integers(0, 7),
        ),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 40_000),
    st.integers(1, 8),
)
@settings(max_examples=150, deadline=None)
def test_a_cap_is_exceeded_at_most_by_what_was_under_way_when_it_was_reached(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, int, tuple[int, int] | None, int]],
    cap: int,
    concurrency: int,
) -> None:
    """Usage reports are anything, ends come in any order, and a log that is read again changes nothing."""
    path = tmp_path_factory.mktemp("s") / "s.jsonl"
    spending = Spending(path, Prices(), Budget(tokens=cap))
    under_way: list[tuple[int, tuple[int, int] | None]] = []
    at_the_cap: int | None = None

    def end(place: int) -> None:
        nonlocal at_the_cap
        number, usage = under_way.pop(place % len(under_way))
        spending.settle(number, None if usage is None else Usage(*usage))
        if spending.tokens >= cap and at_the_cap is None:
            at_the_cap = spending.tokens + sum(sum(usage or (0, 0)) for _, usage in under_way)

    for length, limit, usage, place in steps:
        while under_way and (len(under_way) >= concurrency or spending.wants_patience):
            end(place)
        number = spending.reserve(request("x" * length, limit))
        if number is None:
            continue
        assert at_the_cap is None, "nothing is sent once the cap is reached"
        assert spending.tokens + length + 80 + limit <= cap, "the worst case that is known fits"
        under_way.append((number, usage))
    unknown = sum(1 for _, usage in under_way if usage is None)
    while under_way:
        end(0)
    if at_the_cap is not None and not unknown:
        assert spending.tokens <= at_the_cap
    spending.close()
    again = Spending(path, Prices(), Budget(tokens=cap))
    assert again.tokens == spending.tokens
    again.close()


@given(st.integers(0, 2000), st.integers(0, 9000), st.integers(0, 60_000), st.integers(1, 16))
@settings(max_examples=100, deadline=None)
def test_hidden_thoughts_of_equal_size_break_a_cap_by_the_first_answer_at_most(
    tmp_path_factory: pytest.TempPathFactory, read: int, written: int, cap: int, concurrency: int
) -> None:
    spending = Spending(tmp_path_factory.mktemp("s") / "s.jsonl", Prices(), Budget(tokens=cap))
    under_way: list[int] = []
    for _ in range(100):
        while under_way and (len(under_way) >= concurrency or spending.wants_patience):
            spending.settle(under_way.pop(0), Usage(read, written))
        number = spending.reserve(request())
        if number is not None:
            under_way.append(number)
        elif not under_way:
            break
        else:
            spending.settle(under_way.pop(0), Usage(read, written))
    for number in under_way:
        spending.settle(number, Usage(read, written))
    assert spending.tokens <= max(cap, read + written)
    spending.close()
