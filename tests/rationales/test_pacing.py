"""Limits over any 60 seconds, what servers say, and replicas that die; on a clock that does not wait."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.rationales.pacing import Pace, parse_duration, retry_after
from kpodx.rationales.replicas import Replica, Replicas


class FakeClock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.integers(1, 5), st.integers(40, 100))
@settings(max_examples=50, deadline=None)
def test_no_window_of_a_minute_holds_more_than_the_limits(sizes: list[int], requests: int, tokens: int) -> None:
    clock = FakeClock()
    pace = Pace(requests, tokens, clock)

    async def send() -> list[tuple[float, int]]:
        return [((await pace.acquire(size))[0], size) for size in sizes]

    sent = asyncio.run(send())
    for time, _ in sent:
        window = [size for at, size in sent if time <= at < time + 60]
        assert len(window) <= requests
        assert sum(window) <= tokens


def test_limits_are_used_up() -> None:
    clock = FakeClock()
    pace = Pace(3, None, clock)

    async def send() -> list[float]:
        return [(await pace.acquire(1))[0] - 1000 for _ in range(7)]

    assert asyncio.run(send()) == pytest.approx([0, 0, 0, 60, 60, 60, 120], abs=1e-4)


def test_fewer_tokens_than_feared_let_the_next_go_earlier() -> None:
    clock = FakeClock()
    pace = Pace(None, 100, clock)

    async def send() -> float:
        entry = await pace.acquire(90)
        pace.correct(entry, 10)
        return (await pace.acquire(90))[0] - 1000

    assert asyncio.run(send()) == 0


def test_a_request_larger_than_the_limit_goes_alone() -> None:
    clock = FakeClock()
    pace = Pace(None, 100, clock)

    async def send() -> list[float]:
        return [(await pace.acquire(size))[0] - 1000 for size in (500, 10)]

    assert asyncio.run(send()) == pytest.approx([0, 60], abs=1e-4)


def test_rest_as_the_server_says() -> None:
    clock = FakeClock()
    pace = Pace(None, None, clock)
    pace.learn({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "99s"})
    assert asyncio.run(pace.acquire(1))[0] == 1000
    pace.learn({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m0.5s"})
    pace.learn({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "rubbish"})
    pace.learn({"x-ratelimit-remaining-requests": "²", "x-ratelimit-reset-requests": "99s"})
    assert asyncio.run(pace.acquire(1))[0] == pytest.approx(1060.5, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("8.64s", 8.64),
        ("1h2m3s", 3723),
        ("250ms", 0.25),
        ("2", 2),
        ("1d", 86400),
        ("", None),
        ("5 s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-4"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, 3600),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, 10.0) == seconds


def three(clock: FakeClock, notes: list[str]) -> tuple[Replicas, list[Replica]]:
    replicas = [Replica(f"http://{name}", None, Pace(None, None, clock)) for name in "abc"]
    return Replicas(replicas, clock, notes.append), replicas


def test_the_least_busy_server_is_next() -> None:
    replicas, all_three = three(FakeClock(), [])
    with replicas.one() as first, replicas.one() as second, replicas.one() as third:
        assert {first.url, second.url, third.url} == {"http://a", "http://b", "http://c"}
    assert [replica.under_way for replica in all_three] == [0, 0, 0]


def test_a_dead_server_rests_longer_each_time_and_comes_back() -> None:
    clock, notes = FakeClock(), []
    replicas, (dead, *_) = three(clock, notes)
    rests = []
    for _ in range(9):
        replicas.failed(dead, unreachable=True)
        rests.append(dead.rests_until - clock.time)
        with replicas.one() as other:
            assert other is not dead
        replicas.failed(dead, unreachable=True)
        assert dead.rests_until - clock.time == rests[-1], "what was under way says nothing new"
        clock.time = dead.rests_until
    assert rests[:4] == [0.5, 1, 2, 4]
    assert max(rests) == 30
    with replicas.one() as probe:
        assert probe is dead, "it is tried again"
        with replicas.one() as other:
            assert other is not dead, "with one request only"
    replicas.succeeded(dead)
    assert (dead.errors, dead.unproven) == (0, False)
    assert len(notes) == 2


def test_one_error_of_its_own_does_not_make_a_server_rest() -> None:
    clock = FakeClock()
    replicas, (weak, *_) = three(clock, [])
    replicas.failed(weak, unreachable=False)
    replicas.failed(weak, unreachable=False)
    assert weak.rests_until <= clock.time
    replicas.failed(weak, unreachable=False)
    assert weak.rests_until == clock.time + 0.5


def test_where_all_rest_the_first_to_wake_is_taken() -> None:
    clock = FakeClock()
    replicas, all_three = three(clock, [])
    for times, replica in zip((3, 1, 2), all_three, strict=True):
        for _ in range(times):
            clock.time = max(clock.time, replica.rests_until)
            replicas.failed(replica, unreachable=True)
    with replicas.one() as found:
        assert found is min(all_three, key=lambda replica: replica.rests_until)


def test_a_correction_lets_those_go_who_wait_already() -> None:
    clock = FakeClock()
    pace = Pace(None, 100, clock)

    async def send() -> float:
        first = await pace.acquire(90)
        waiting = asyncio.create_task(pace.acquire(90))
        await asyncio.sleep(0)
        pace.correct(first, 5)
        return (await waiting)[0] - 1000

    assert asyncio.run(send()) <= 1
