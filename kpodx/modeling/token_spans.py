"""Where tokens stand in a text, by the tokenizers library alone: nothing here loads torch."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer as Backend

from kpodx.artifacts import hash_json
from kpodx.schema import Span, StepSpan


def read_backend(path: Path) -> Backend | None:
    """The tokenizer in a `tokenizer.json`; None where there is none, or it cannot be read."""
    if not path.is_file():
        return None
    try:
        return Backend.from_file(str(path))
    except Exception as error:
        # The library raises a bare Exception for a damaged file.
        if type(error) is not Exception:
            raise
        return None


def backend_hash(backend: Backend) -> str:
    """A hash of all that decides how the tokenizer cuts text: equal hashes, equal tokens."""
    state = json.loads(backend.to_str())
    state.pop("padding", None)
    state.pop("truncation", None)
    return hash_json(state)


def leading_space_of(backend: Backend) -> str:
    """What to put before a text that continues another: " " for byte-level tokenizers, "" for those that add it themselves."""
    first, second, both = (backend.encode(text, add_special_tokens=False).ids for text in ("a", "box", "a box"))
    return "" if first + second == both else " "


def encode_texts(backend: Backend, texts: Sequence[str]) -> list[tuple[tuple[int, ...], tuple[tuple[int, int], ...]]]:
    """Token ids and character ranges (in the text as given) of texts that continue a prompt.

    Returns:
        For each text, ids [n] and (start, stop) pairs [n], clipped to the text, both without special tokens.
    """
    if not texts:
        return []
    # A saved tokenizer may carry the lengths that it was last used with.
    backend.no_truncation()
    backend.no_padding()
    lead = leading_space_of(backend)
    shift = len(lead)
    encoded = backend.encode_batch([lead + text for text in texts], add_special_tokens=False)
    return [
        (tuple(item.ids), tuple((max(a - shift, 0), max(b - shift, 0)) for a, b in item.offsets)) for item in encoded
    ]


def token_spans(backend: Backend, text: str) -> list[StepSpan]:
    """The character range of each token of a rationale, in order."""
    [(_, offsets)] = encode_texts(backend, [text])
    return [StepSpan(a, b) for a, b in offsets]


def overlapping(spans: Sequence[Span], ranges: Sequence[Span]) -> list[bool]:
    """Return for each token whether it shares a character with one of some ranges.

    Args:
        spans: characters of each token.
        ranges: half-open ranges of characters, in any order.

    >>> overlapping([(0, 2), (2, 4), (4, 6)], [(3, 4)])
    [False, True, False]
    """
    ordered = sorted(ranges)
    starts = [begin for begin, _ in ordered]
    # The farthest end of all ranges up to each one: a range may lie inside an earlier one.
    reach = list(accumulate((end for _, end in ordered), max))
    before = [bisect_left(starts, stop) for _, stop in spans]
    return [bool(count) and reach[count - 1] > start for (start, _), count in zip(spans, before, strict=True)]
