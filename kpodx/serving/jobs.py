"""A request on its way through the service, and what happens to it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Ask:
    """What a worker is asked.

    Attributes:
        text: a question, or a whole prompt.
        wrap: whether it is a question, which the model's own prompt goes around.
        max_tokens: longest answer.
        temperature: 0 takes the likeliest token.
        top_p: share of the probability that tokens are drawn from.
        seed: of the draws; the same as `run.py --seed`.
        stop: texts that end the answer.
        stream: whether its text is wanted while it comes.
    """

    text: str
    wrap: bool = True
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: Sequence[str] = ()
    stream: bool = False


@dataclass(frozen=True)
class Started:
    """A worker took it; its prompt has so many tokens. Comes a second time where the first worker died."""

    prompt_tokens: int


@dataclass(frozen=True)
class Text:
    """More text, to one who streams."""

    text: str


@dataclass(frozen=True)
class Done:
    """The whole answer, with how it ended and how many tokens it has."""

    reason: Literal["stop", "length"]
    tokens: int
    text: str


@dataclass(frozen=True)
class Failed:
    """There is no answer.

    Attributes:
        kind: "refused" is the request's own fault; the others are told in `kpodx.serving.openai_api`.
        message: why, for people.
        code: for programs, of what is refused.
    """

    kind: Literal["refused", "failed", "worker", "overdue", "stopping"]
    message: str
    code: str | None = None


Event = Started | Text | Done | Failed


@dataclass(eq=False)
class Job:
    """A request that waits, or is being answered.

    Attributes:
        model: id of the model.
        ask: what is asked.
        number: its name between us and a worker.
        events: what happened to it and has not been read.
        deaths: workers that died of it, or beside it.
        is_shown: whether some of its text may have left already.
        is_over: whether `Done` or `Failed` came, or nobody waits for them any more.
        expiry: ends it where it waits too long.
    """

    model: str
    ask: Ask
    number: int = field(default_factory=lambda: next(_NUMBERS))
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    deaths: int = 0
    is_shown: bool = False
    is_over: bool = False
    expiry: asyncio.TimerHandle | None = None

    def tell(self, event: Event) -> None:
        """Pass on what happened; nothing comes after the end."""
        if self.is_over:
            return
        self.is_over = isinstance(event, Done | Failed)
        self.is_shown |= isinstance(event, Text)
        self.events.put_nowait(event)

    @property
    def can_be_repeated(self) -> bool:
        """Whether another worker may answer it: nothing has left yet, and only one died so far."""
        return not self.is_over and not self.is_shown and self.deaths < 2

    def wire(self) -> dict[str, Any]:
        """What the worker reads."""
        return {"id": self.number, **vars(self.ask)}
