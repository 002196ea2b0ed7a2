"""The text of an answer while its tokens come: what can be shown for good, up to the first stop text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

UNFINISHED = "\ufffd"
"""What a tokenizer shows for a character whose last token has not come."""


class AnswerText:
    """Gives out an answer piece by piece; what it gave out never changes.

    Args:
        stops: texts that end the answer, and are not part of it.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stops)
        self._shown = ""
        self.whole = ""
        self.is_stopped = False

    def piece(self, text: str, *, is_last: bool = False) -> str:
        """What is new and certain in the text so far.

        Args:
            text: all that the tokens so far say.
            is_last: whether nothing more will come.

        >>> answer = AnswerText(stops=["END"])
        >>> [answer.piece(text) for text in ("It is E", "It is EN", "It is ENOUGH. END of it")], answer.is_stopped
        (['It is ', '', 'ENOUGH. '], True)
        >>> answer.whole
        'It is ENOUGH. '
        """
        cut = min((place for stop in self._stops if (place := text.find(stop)) >= 0), default=None)
        self.is_stopped = cut is not None
        self.whole = text[:cut]
        certain = self.whole
        if not (is_last or self.is_stopped):
            if text.endswith(UNFINISHED):
                return ""
            certain = text[: len(text) - self._begun_stop(text)]
        if certain.startswith(self._shown):
            begin = len(self._shown)
        elif is_last or self.is_stopped:
            # A tokenizer took a space back that was shown.
            pairs = zip(certain, self._shown, strict=False)
            begin = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        else:
            return ""
        self._shown = certain
        return certain[begin:]

    def _begun_stop(self, text: str) -> int:
        """Characters at the end that may become a stop text."""
        lengths = (n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n]))
        return max(lengths, default=0)
