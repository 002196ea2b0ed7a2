"""What the service counts, in the text format of Prometheus."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of a histogram's buckets."""


class Counter:
    """A number that only grows, one for each combination of labels."""

    def __init__(self, name: str, about: str, labels: Sequence[str] = ()) -> None:
        self.name, self.about, self._labels = name, about, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count; the labels' values in the order of their names."""
        assert len(labels) == len(self._labels)
        self._values[labels] = self._values.get(labels, 0) + amount

    def value(self, *labels: str) -> float:
        """The count of these labels."""
        return self._values.get(labels, 0)

    def lines(self) -> Iterator[str]:
        """The samples."""
        yield from _head(self.name, self.about, "counter")
        for labels, value in sorted(self._values.items()):
            yield sample(self.name, dict(zip(self._labels, labels, strict=True)), value)


class Histogram:
    """How often something took how many seconds."""

    def __init__(self, name: str, about: str) -> None:
        self.name, self.about = name, about
        self._counts, self._sum = [0] * (len(SECONDS) + 1), 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect.bisect_left(SECONDS, seconds)] += 1
        self._sum += seconds

    def lines(self) -> Iterator[str]:
        """The samples; each bucket counts what is in those below it as well."""
        yield from _head(self.name, self.about, "histogram")
        total = 0
        for bound, count in zip((*SECONDS, math.inf), self._counts, strict=True):
            total += count
            yield sample(f"{self.name}_bucket", {"le": "+Inf" if math.isinf(bound) else f"{bound:g}"}, total)
        yield sample(f"{self.name}_sum", {}, self._sum)
        yield sample(f"{self.name}_count", {}, total)


class Metrics:
    """All counters of a service."""

    def __init__(self) -> None:
        self.requests = Counter("kpodx_requests_total", "Requests, by path and status.", ("path", "status"))
        self.request_seconds = Histogram("kpodx_request_seconds", "Seconds from a request's head to its answer's end.")
        self.first_text_seconds = Histogram("kpodx_first_text_seconds", "Seconds to the first text of a stream.")
        self.prompt_tokens = Counter("kpodx_prompt_tokens_total", "Tokens of prompts that were answered.", ("model",))
        self.completion_tokens = Counter("kpodx_completion_tokens_total", "Tokens of answers.", ("model",))
        self.hung_up = Counter("kpodx_hung_up_total", "Clients that left before their answer's end.")
        self.starts = Counter("kpodx_worker_starts_total", "Workers that became ready.", ("model",))
        self.deaths = Counter("kpodx_worker_deaths_total", "Workers that ended by themselves.", ("model",))

    def text(self, gauges: Sequence[tuple[str, str, dict[str, str], float]] = ()) -> str:
        """The page; `gauges` are (name, what it is, labels, value) of what goes up and down."""
        lines = [line for item in vars(self).values() for line in item.lines()]
        headed: set[str] = set()
        for name, about, labels, value in gauges:
            lines += [] if name in headed else _head(name, about, "gauge")
            headed.add(name)
            lines.append(sample(name, labels, value))
        return "\n".join(lines) + "\n"


def sample(name: str, labels: dict[str, str], value: float) -> str:
    r"""One line.

    >>> sample("answers", {"model": 'a"b'}, 3)
    'answers{model="a\\"b"} 3'
    """
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:.10g}" if inside else f"{name} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _head(name: str, about: str, kind: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
