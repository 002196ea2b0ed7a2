"""The process that compares formulas: pairs as JSON, a line at a time; one "1" or "0" per pair comes back.

It ends with its input, and by a signal if one comparison takes more time of a processor than allowed. math-verify's own
limits on time would count the time of a busy machine too, and cannot end a long multiplication.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable

COMPARISON_SECONDS = 3
"""Processor time of one comparison."""
MEMORY_BYTES = 2 * 2**30
"""Address space of the whole process."""


def main() -> None:
    """Answer until the input ends."""
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    is_equal = _build_comparison()
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        for predicted, reference in json.loads(line):
            _limit(resource.RLIMIT_CPU, int(time_used()) + 1 + COMPARISON_SECONDS)
            print(int(is_equal(predicted, reference)), file=answers, flush=True)


def time_used() -> float:
    """Return the processor time that this process has taken, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _limit(what: int, value: int) -> None:
    """Bound a resource as far as the system allows that."""
    _, hard = resource.getrlimit(what)
    try:
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    except (ValueError, OSError):
        # macOS refuses some limits; the time by the clock is bounded by whoever asks.
        return


def _build_comparison() -> Callable[[str, str], bool]:
    """Return what tells whether a predicted formula equals the reference; False if it cannot read one."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse, verify

    # Its list of units holds "t", "h" and "ab": "3t" would be read in part, as 3.
    normalization = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
    )
    config = [LatexExtractionConfig(normalization_config=normalization)]

    def is_equal(predicted: str, reference: str) -> bool:
        try:
            read = [
                parse(f"${text}$", extraction_config=config, parsing_timeout=None) for text in (reference, predicted)
            ]
            # The second entry is the text itself: without the first one, the formula was not understood.
            if not all(len(found) > 1 for found in read):
                return False
            return bool(verify(*read, timeout_seconds=None, allow_set_relation_comp=True))
        except Exception:  # noqa: BLE001  (sympy raises anything on strange formulas)
            return False

    return is_equal


if __name__ == "__main__":
    main()
