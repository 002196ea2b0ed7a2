"""What a teacher may cost: prices, caps that hold, and a log of every request that left.

A request is written down with its bound before it is sent, and with its true cost when the answer is there. So after a kill the
log still holds what may have been spent: a request without an end counts at its bound.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from kpodx.artifacts import Journal
from kpodx.errors import BudgetSpentError, DataError
from kpodx.rationales.requests import Request, Usage

logger = logging.getLogger(__name__)

_TOKENS_PER_BYTE = 0.25
_TOKENS_PER_COMPLETION = 200.0
_BOUND_OF_THE_SECOND_QUESTION = 160


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens of prompts and of completions."""

    input_usd_per_million: float = 0.0
    output_usd_per_million: float = 0.0

    def usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The price of so many tokens.

        >>> Prices(0.5, 1.5).usd(2_000_000, 1_000_000)
        2.5
        """
        return (prompt_tokens * self.input_usd_per_million + completion_tokens * self.output_usd_per_million) / 1e6


@dataclass(frozen=True)
class Budget:
    """Hard caps; None for none."""

    usd: float | None = None
    tokens: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is any cap."""
        return self.usd is not None or self.tokens is not None

    def holds(self, usd: float, tokens: int) -> bool:
        """Whether so much may be spent."""
        # A hair of tolerance for sums of floats: a millionth of a cent.
        return (self.usd is None or usd <= self.usd + 1e-8) and (self.tokens is None or tokens <= self.tokens)


@dataclass(frozen=True)
class _Tokens:
    """Tokens of prompts and of completions."""

    prompt: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def __add__(self, other: _Tokens) -> _Tokens:
        return _Tokens(self.prompt + other.prompt, self.completion + other.completion)

    def __sub__(self, other: _Tokens) -> _Tokens:
        return _Tokens(self.prompt - other.prompt, self.completion - other.completion)

    def times(self, count: int) -> _Tokens:
        return _Tokens(self.prompt * count, self.completion * count)


_NOTHING = _Tokens()


class Spending:
    """The log of one run, and what it adds up to.

    Args:
        path: JSONL file, appended to; read first if it exists.
        prices: what tokens cost now; the log holds tokens only.
        budget: the caps.

    Raises:
        DataError: the log holds something else.
    """

    def __init__(self, path: Path, prices: Prices, budget: Budget) -> None:
        self.prices, self.budget = prices, budget
        self.answers = 0
        self._spent = self._under_way = self._surplus = _NOTHING
        self._open: dict[int, _Tokens] = {}
        self._bounds: dict[int, _Tokens] = {}
        self._orphans: set[int] = set()
        self._journal = Journal(path)
        self._next = 0
        try:
            for record in self._journal.records:
                self._replay(record)
        except (ValueError, KeyError, TypeError) as error:
            self.close()
            raise DataError(
                f"{path}: expected records of the spending, got {record}.",
                hint="The file was changed by hand; without it the run forgets what it has spent.",
            ) from error
        # What was under way when an earlier process ended may have been paid for: it counts at its bound.
        self._orphans = set(self._open)
        self._open = {number: self._bounds[number] for number in self._open}
        self._under_way = _NOTHING
        # Another model may be asked now: what its answers take is not known yet.
        self.answers = 0

    def close(self) -> None:
        """Close the log."""
        self._journal.close()

    @property
    def tokens(self) -> int:
        """Tokens that were spent, or may have been."""
        return self._counted().total

    @property
    def usd(self) -> float:
        """Their price."""
        spent = self._counted()
        return self.prices.usd(spent.prompt, spent.completion)

    def _counted(self) -> _Tokens:
        return sum((self._open[number] for number in self._orphans), self._spent)

    @property
    def under_way(self) -> int:
        """Requests that this process sent and that have no end yet."""
        return len(self._open) - len(self._orphans)

    @property
    def wants_patience(self) -> bool:
        """Whether another request should wait for an answer: under a cap no more are under way than answers were seen, plus one.

        Until then nobody knows what a request really takes: a model that thinks may spend ten times its `max_tokens`.
        """
        return self.budget.is_set and self.under_way > self.answers

    def reserve(self, request: Request) -> int | None:
        """Return a number for a request that may be sent now, None if it could break a cap together with those under way."""
        own = _Tokens(request.max_prompt_tokens, request.max_tokens)
        bound = own + self._surplus
        # Those under way may turn out to take as much more as others did.
        worst = self._counted() + self._under_way + self._surplus.times(self.under_way) + bound
        if not self.budget.holds(self.prices.usd(worst.prompt, worst.completion), worst.total):
            return None
        number, self._next = self._next, self._next + 1
        record: dict[str, Any] = {"sent": number, "key": request.key[:16], "bound": [bound.prompt, bound.completion]}
        if self._surplus != _NOTHING:
            record["own"] = [own.prompt, own.completion]
        self._journal.append(record)
        self._open[number] = own
        self._under_way += own
        return number

    def settle(self, number: int, usage: Usage | None) -> None:
        """Note that a request ended with this usage; None if nobody knows, which counts at its bound."""
        own = self._open[number]
        bound = own if number in self._orphans else own + self._surplus
        spent = bound if usage is None else _Tokens(usage.prompt_tokens, usage.completion_tokens)
        surplus = self._surplus
        self._journal.append({"ended": number, "tokens": [spent.prompt, spent.completion]})
        self._settle(number, spent)
        if self._surplus != surplus:
            logger.warning(
                "The server counts %d tokens of a prompt and %d of a completion; at most %d and %d were expected (a long system "
                "prompt of its own, or hidden thoughts?). The budget expects as much from now on.",
                *(spent.prompt, spent.completion, bound.prompt, bound.completion),
            )

    def settle_if_open(self, number: int, usage: Usage | None) -> None:
        """Settle a request of which an earlier process may have died; one that already counts at its bound stays so."""
        if number in self._open:
            self.settle(number, usage)

    def _settle(self, number: int, spent: _Tokens) -> None:
        own = self._open.pop(number)
        if number in self._orphans:
            self._orphans.discard(number)
        else:
            self._under_way -= own
        self._spent += spent
        self.answers += spent != _NOTHING
        # Later requests are expected to exceed what is known of them by as much.
        beyond = spent - own
        self._surplus = _Tokens(
            max(self._surplus.prompt, beyond.prompt), max(self._surplus.completion, beyond.completion)
        )

    def _replay(self, record: dict[str, Any]) -> None:
        if "sent" in record:
            own = _Tokens(*map(int, record.get("own", record["bound"])))
            self._open[record["sent"]] = own
            self._bounds[record["sent"]] = _Tokens(*map(int, record["bound"]))
            self._under_way += own
            self._next = max(self._next, record["sent"] + 1)
        else:
            prompt, completion = record["tokens"]
            self._settle(record["ended"], _Tokens(int(prompt), int(completion)))


def raise_budget_spent(spending: Spending) -> NoReturn:
    """BudgetSpentError that says what the caps are and what is spent."""
    budget = spending.budget
    caps = [f"{budget.tokens:,} tokens"] if budget.tokens is not None else []
    caps += [f"{budget.usd:g} US dollars"] if budget.usd is not None else []
    raise BudgetSpentError(
        f"The teacher's budget ({' and '.join(caps)}) does not hold another request: {spending.tokens:,} tokens, "
        f"{spending.usd:.4f} US dollars are spent.",
        hint="What was answered is kept. Raise rationales.cost.budget_tokens or budget_usd and run again to go on.",
    )


@dataclass(frozen=True)
class Estimate:
    """What asking would take: requests, tokens and US dollars, likely and at most."""

    requests: int
    max_requests: int
    cached: int
    tokens: int
    max_tokens: int
    usd: float
    max_usd: float
    has_prices: bool


def in_words(expected: Estimate) -> str:
    """An estimate in one line."""
    price = f", {expected.usd:.2f} US dollars (at most {expected.max_usd:.2f})" if expected.has_prices else ""
    return (
        f"the teacher: {expected.requests:,} requests to send, {expected.cached:,} cached; about {expected.tokens:,} tokens"
        f"{price}"
    )


def estimate(
    requests: Sequence[Request],
    cached: int,
    prices: Prices,
    usual: tuple[float, float] | None,
    *,
    known_second: Sequence[Request] = (),
    answer_max_tokens: int = 0,
    always: bool = False,
) -> Estimate:
    """What asking would take.

    Args:
        requests: those that are not cached.
        cached: how many are.
        prices: of tokens.
        usual: (tokens of a prompt per byte, tokens of a completion) seen before; None assumes 4 bytes a token and completions
            of 200 tokens, or of the limit where that is less.
        known_second: second questions that are sure to follow, because the first ones' answers are cached.
        answer_max_tokens: limit of a second question that may follow each of `requests`, its rationale in the prompt; 0 for none.
        always: whether it follows in any case, and counts in the likely figures too.
    """
    per_byte, completion = usual or (_TOKENS_PER_BYTE, _TOKENS_PER_COMPLETION)
    read = written = 0.0
    max_read = max_written = 0
    for request in (*requests, *known_second):
        size = sum(len(message.content.encode()) for message in request.messages)
        read += per_byte * size
        written += min(completion, request.max_tokens)
        max_read += request.max_prompt_tokens
        max_written += request.max_tokens
    for request in requests if answer_max_tokens else ():
        max_read += request.max_prompt_tokens + request.max_tokens + _BOUND_OF_THE_SECOND_QUESTION
        max_written += answer_max_tokens
        if always:
            size = sum(len(message.content.encode()) for message in request.messages)
            read += per_byte * size + min(completion, request.max_tokens)
            written += min(completion, answer_max_tokens)
    count, more = len(requests) + len(known_second), len(requests)
    return Estimate(
        requests=count + (more if always else 0),
        max_requests=count + (more if answer_max_tokens else 0),
        cached=cached,
        tokens=round(read + written),
        max_tokens=max_read + max_written,
        usd=prices.usd(read, written),
        max_usd=prices.usd(max_read, max_written),
        has_prices=prices != Prices(),
    )
