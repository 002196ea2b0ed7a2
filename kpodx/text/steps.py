r"""Cutting a rationale into reasoning steps (KPOD section 3.2: steps end at a period).

A period alone is not enough on real rationales: it also stands in decimals, abbreviations, list numbers and initials,
and many teachers put a step on each line instead. A display formula, a code block or a bracket is never cut, and the
two former stay with the sentence that leads to them. Steps tile the text: joined, they are the text again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from kpodx.schema import StepSpan
from kpodx.text.abbreviations import AFTER_TIME, KINDS, LABELED, LONGEST, OPENERS, Abbreviation
from kpodx.text.formulas import Span, whole_spans

# Every quantifier over text is possessive or bounded: no character is scanned more than a few times.
_CONTENT = re.compile(r"[^\W_]")
_CLOSING_CHARACTERS = "\"'”’»)]}*_$」』）】》"
_CLOSING = rf"(?:[{re.escape(_CLOSING_CHARACTERS)}]|\\\))"
_END = re.compile(
    r"(?P<first>[.!?…\n。！？｡।])(?!(?<=[.])(?:[\da-z]|[A-Z][.A-Z\d]))"
    rf"(?:(?<=\n)|(?P<more>[.!?…。！？｡]*+)(?P<close>{_CLOSING}*+))(?P<space>\s*+)"
)
# In front of the first letter or digit of a step: what still belongs to the step before.
_LEADING_PIECES = re.compile(rf"(?:[^.!?…\n]*+(?:\n\s*+|[.!?…]++{_CLOSING}*+(?:\s++|(?=\S))))++")

# A lone "x." (and n, y, z) is a variable at a sentence's end far more often than the tenth of a list.
_ROMAN = r"(?=[ivx])(?!x\b)x{0,3}(?:ix|iv|v?i{0,3})|(?=[IVX])X{0,3}(?:IX|IV|V?I{0,3})"
_ROMAN_NUMBER = re.compile(r"(?=[IVX])X{0,3}(?:IX|IV|V?I{0,3})")
_LABEL = rf"(?:\d{{1,2}}|{_ROMAN}|[a-mo-wA-Z])(?![^\W_])"
_NAMES = r"(?i:step|case|part|stage|section)"
_LEAD = r"(?:[-+*_#>•–]{1,4}\s{0,2}+){0,3}"
# "1. ", "a) ", "(ii) ", "**Step 2.** ", "Case II:" and a line's end: the label of what follows.
_LIST_LABEL = re.compile(
    rf"\s*+{_LEAD}(?:"
    rf"(?:{_NAMES}\s{{1,2}})?[(\[]?(?:{_LABEL})(?:[.)\]]{{1,2}}|\*\*[.)])[*_]{{0,3}}:?[*_]{{0,3}}(?:\s++|\Z)"
    rf"|{_NAMES}\s{{1,2}}[(\[]?(?:{_LABEL})[)\]]?[.:]?[*_]{{0,3}}:?[*_]{{0,3}}[ \t]*+(?:\n\s*+|\Z)"
    r")"
)
_GLUED_LABEL = re.compile(rf"\s{{0,3}}{_LEAD}(?:{_LABEL})\.")
_LETTER_LABEL = re.compile(rf"(?:{_LABEL})\.(?![a-z])")
_LONGEST_LABEL = 24
_CONTINUES = frozenset("=+*/×÷−·≈≠≤≥,;:%)|")
_CONTINUES_FORMULA = frozenset("=≈≠≤≥×÷·,;:.!?)，。；：")
_MARKUP = re.compile(r"(?:\*{1,3}|_{1,3})(?=[^\s*_])")
_CONTINUES_NAME = re.compile(r"[a-zA-Z\d]")
_WORD = re.compile(r"[^\W\d_]+")
_INITIAL = re.compile(r"[A-Z]\.\s")
_DOTTED = re.compile(r"(?:[^\W\d_]{1,3}\.){1,5}[^\W\d_]{1,5}")
_SPACED = re.compile(
    r"(?:i\. ?e|e\. ?g|[ap]\. ?m|z\. ?[BTZ]|d\. ?h|u\. ?[aäUÄ]|v\. ?a|s\. ?[ou]|o\. ?ä|m\. ?E|i\. ?d\. ?R)\."
)
_SPACED_LETTERS = frozenset("iegapmzBTZdhuUäÄvsoER")
_SPACED_PLACES = (1, 4, 7)
"""How far before the period of its first, second and third letter a spaced abbreviation begins."""
# German writes ordinal numbers with a period: "am 3. Mai", "im 19. Jahrhundert", "vom 3. bis 5. Tag".
_ORDINAL = re.compile(
    r"\b(?:am|ab|beim|bis|dem|den|der|des|die|das|im|ihr|ihrem|jedem|jeden|jeder|pro|seit|seinem|und|vom|zum|zur)\s\d{1,2}\Z",
    re.IGNORECASE,
)
_AFTER_ORDINAL = re.compile(
    r"(?:Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Jahrhundert|Jahrestag"
    r"|Geburtstag|Stock|Etage|Klasse|Platz|Mal|Tag|Woche|Monat|Jahr|Stunde|Minute|Runde|Quartal|Schritt|Person|Kind|Teil)"
    r"(?:e?[sn]|e)?\b|(?:und|oder|bis)\s(?:\w{2,4}\s)?\d"
)
_FIGURE_BEFORE = re.compile(r"[\d½⅓⅔¼¾][\s-]?\Z")
_ORDINALS = frozenset(("st", "nd", "rd", "th"))
_BEFORE_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_HIRAGANA = re.compile("[\u3040-\u309f]")
_QUOTED_ON = frozenset("，、,:：;；")
_FULL_STOPS = frozenset("。！？｡।")
_SENTENCE_ENDS = frozenset(".!?…。！？｡।")


def split_steps(text: str) -> list[StepSpan]:
    """Half-open character ranges of the steps of `text`, in order; concatenated they are `text`, and none is empty.

    A step ends at ".", "!", "?", "。" or a line's end, together with closing quotes and the whitespace that follows. A
    piece without any letter or digit joins the step before it (the first joins the one after). The empty text has no
    steps.

    >>> text = "He pays $3.50. Mr. Lee pays 2."
    >>> [text[span.start : span.stop] for span in split_steps(text)]
    ['He pays $3.50. ', 'Mr. Lee pays 2.']
    """
    return [StepSpan(start, stop) for start, stop in step_bounds(text)]


def count_steps(text: str) -> int:
    """Return how many steps `split_steps` finds."""
    return len(step_bounds(text))


# One text is split several times in a row, by all who read it.
@functools.lru_cache(maxsize=64)
def step_bounds(text: str) -> tuple[tuple[int, int], ...]:
    """Return (start, stop) of each step, as `split_steps` has them."""
    if not text:
        return ()
    stops = [*_Splitter(text).stops(), len(text)]
    return tuple(zip([0, *stops[:-1]], stops, strict=True))


def step_texts(text: str) -> list[str]:
    """Return the steps of `text` themselves; joined they are `text`."""
    return [text[start:stop] for start, stop in step_bounds(text)]


class _Splitter:
    """One pass over `text`.

    `start` is where the current step begins, `lead` where it begins behind its list labels; `block_stop` is the end of
    the last display formula or code block that was passed.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.whole: Sequence[Span] = whole_spans(text)
        self.start = self.lead = self.next_whole = 0
        self.block_stop = -1

    def stops(self) -> list[int]:
        """Where a step ends and another one begins."""
        text, stops = self.text, list[int]()
        at = self._enter(0, has_before=False)
        found = _END.search(text, at)
        while at < len(text):
            if found is not None and found.start() < at:
                found = _END.search(text, at)
            span = self._span_at(at, found.start() if found else len(text)) if self.whole else None
            if span is not None and (found is None or found.end() < span.stop or span.stop <= found.start()):
                stop, at = self._pass(span), self._resume(span)
            elif found is not None:
                stop, at = self._stop_of(found), max(found.end(), self.lead)
            else:
                break
            if stop is not None:
                at = self._enter(stop, has_before=True)
                if at < len(text):
                    stops.append(self.start)
        return stops

    def _enter(self, start: int, *, has_before: bool) -> int:
        """Begin a step at `start`, or behind the pieces there that hold nothing; return where its content begins."""
        self.start = self.lead = start
        if self.text[start : start + 1].isalnum():
            return start
        content = _CONTENT.search(self.text, start)
        at = content.start() if content else len(self.text)
        if has_before:
            span = self._span_at(start, at)
            pieces = _LEADING_PIECES.match(self.text, start, max(start, span.start) if span else at)
            self.start = self.lead = pieces.end() if pieces else start
        return at

    def _span_at(self, at: int, place: int) -> Span | None:
        """The range that stays whole, reaches beyond `at`, and begins before the candidate at `place`."""
        while self.next_whole < len(self.whole) and self.whole[self.next_whole].stop <= at:
            self.next_whole += 1
        span = self.whole[self.next_whole] if self.next_whole < len(self.whole) else None
        return span if span is not None and span.start <= place else None

    def _pass(self, span: Span) -> int | None:
        r"""Where the step ends behind `span` on the same line, if it does: "\[ x = 3 \] Then"."""
        if not span.is_block:
            return None
        self.block_stop = span.stop
        text, stop = self.text, span.stop
        while text[stop : stop + 1] in (" ", "\t"):
            stop += 1
        if stop == span.stop or not text[stop : stop + 1].isupper():
            return None
        closing = len("\\]") if span.opening in ("\\[", "$$") else 0
        inside = text[span.start : span.stop - closing].rstrip()
        return stop if span.opening != "$$" or inside[-1:] in _SENTENCE_ENDS else None

    def _resume(self, span: Span) -> int:
        """Where to look for the next candidate: behind `span`, or at the stop inside that closes it ("(It is 5.) Then")."""
        text, at = self.text, span.stop
        while at > span.start and (text[at - 1] in _CLOSING_CHARACTERS or text[at - 1] == "\\"):
            at -= 1
        stop = at
        while at > span.start and text[at - 1] in _SENTENCE_ENDS:
            at -= 1
        return span.stop if span.is_block or at == stop else at

    def _stop_of(self, found: re.Match[str]) -> int | None:
        """Where the step ends at a candidate, if it does."""
        place, stop = found.span()
        if stop == place + 2 and self._is_plain(place, stop):
            return stop
        if place - self.lead <= _LONGEST_LABEL and self._passes_labels(place):
            return None
        if stop == len(self.text) or self._ends(found, place, stop):
            return stop
        return None

    def _is_plain(self, place: int, stop: int) -> bool:
        """Whether an ordinary word or number, a period and a space end the step: the fast path for the common case."""
        text = self.text
        if text[place:stop] != ". " or place - self.lead <= _LONGEST_LABEL or not text[stop : stop + 1].isalnum():
            return False
        word = text[text.rfind(" ", self.lead, place) + 1 : place]
        if word.isdigit():
            return not self._is_ordinal(place, stop)
        return word.isalpha() and word.islower() and len(word) > 1 and word not in KINDS

    def _is_ordinal(self, place: int, stop: int) -> bool:
        """Whether the period at `place` makes a German ordinal of the number before it: "am 3. Mai"."""
        before = self.text[max(self.start, place - 12) : place]
        return _AFTER_ORDINAL.match(self.text, stop) is not None and _ORDINAL.search(before) is not None

    def _passes_labels(self, place: int) -> bool:
        """Whether the candidate at `place` belongs to list labels, which are passed then."""
        label = _LIST_LABEL.match(self.text, self.lead)
        while label is not None:
            self.lead = label.end()
            label = _LIST_LABEL.match(self.text, self.lead) if self.lead < len(self.text) else None
        return place < self.lead

    def _ends(self, found: re.Match[str], place: int, stop: int) -> bool:
        """Whether the candidate in the text at [place, stop) ends the step."""
        text = self.text
        if found["first"] == "\n":
            return self._line_ends(place, stop)
        space = found["space"]
        if not space:
            return self._ends_without_space(found, place, stop)
        if "\n" in space:
            return not (self.block_stop == place and _continues_formula(text, stop))
        following = text[stop]
        markup = _MARKUP.match(text, stop) if following in "*_" else None
        following = text[markup.end()] if markup else following
        close = found["close"]
        if following in _CONTINUES or (close and following.islower()):
            return False
        if found["more"] or text[place] != ".":
            return self._exclamation_ends(found, place, following)
        return bool(close) or not self._abbreviates(place, stop, following)

    def _line_ends(self, place: int, stop: int) -> bool:
        """Whether the line's end at [place, stop) ends the step."""
        text = self.text
        before = place
        while before > self.start and text[before - 1] in " \t":
            before -= 1
        if before == self.block_stop:
            return not _continues_formula(text, stop)
        span = self._span_at(place, stop)
        if span is None or not span.is_block or span.start != stop:
            return True
        while before > self.start and text[before - 1] in _CLOSING_CHARACTERS:
            before -= 1
        return text[before - 1] in _SENTENCE_ENDS

    def _ends_without_space(self, found: re.Match[str], place: int, stop: int) -> bool:
        """Whether stops that the next character touches end the step: "。然后", "2 apples.Then"."""
        text, following = self.text, self.text[stop]
        if not _FULL_STOPS.isdisjoint(text[place : found.end("more")]):
            return following not in _QUOTED_ON and not (found["close"] and _HIRAGANA.match(text, stop))
        if (found["more"] and text[place] in ".…") or _GLUED_LABEL.fullmatch(text, self.lead, place + 1):
            return False
        if _BEFORE_CJK.match(text, stop):
            return text[place] != "…"
        return following.isupper() and _is_glued(text, max(self.start, place - 40), place, stop)

    def _exclamation_ends(self, found: re.Match[str], place: int, following: str) -> bool:
        """Whether "!", "?" or an ellipsis ends the step; "4! ways" and "1, 2, ... 9" go on."""
        text = self.text
        stops = text[place : found.end("more")]
        if not set(stops) <= {".", "…"}:
            is_factorial = stops == "!" and text[max(self.start, place - 1) : place].isdigit()
            return not (is_factorial and following.islower())
        before = text[max(self.start, place - 2) : place].rstrip()[-1:]
        return not following.islower() and not (before and before in ",+-*/=×")

    def _abbreviates(self, place: int, stop: int, following: str) -> bool:
        """Whether the period at `place` closes an abbreviation or an initial, and the step goes on with `following`."""
        text = self.text
        if self._is_ordinal(place, stop):
            return True
        words = text[max(self.start, place - LONGEST - 4) : place].rsplit(maxsplit=1)
        written = words[-1].lstrip("([{\"'*_“‘–—/~$") if words else ""
        word = written.lstrip("0123456789.,-½¼¾")
        if not word or len(word) > LONGEST or not word[-1].isalpha():
            return False
        kind = KINDS.get(word.lower())
        if kind is Abbreviation.MEASURE or word in _ORDINALS:
            before = place - len(word)
            has_figure = len(word) < len(written) or _FIGURE_BEFORE.search(text, max(self.start, before - 3), before)
            if has_figure and word in _ORDINALS:
                return False
            kind = kind if has_figure or kind is not Abbreviation.MEASURE else None
        if kind is not None and (len(word) > 1 or word.islower() or kind is Abbreviation.MEASURE):
            return self._goes_on(kind, word, place, stop, following)
        if len(word) > 1:
            return self._dotted_goes_on(word, stop, following)
        if not following.isupper() or word.islower():
            return self._letter_goes_on(place)
        if _INITIAL.match(text, stop):
            return True
        return word != "I" and not self._opens_sentence(stop) and not self._is_label(place - 1)

    def _dotted_goes_on(self, word: str, stop: int, following: str) -> bool:
        """Whether the step goes on behind "B.Sc", "sq.ft", or a Roman number before a small letter."""
        if following.islower() and _ROMAN_NUMBER.fullmatch(word):
            return True
        goes_on = not following.isupper() or (word[0].isupper() and not self._opens_sentence(stop))
        return goes_on and _DOTTED.fullmatch(word) is not None

    def _goes_on(self, kind: Abbreviation, word: str, place: int, stop: int, following: str) -> bool:
        """Whether the step goes on behind an abbreviation of some kind."""
        is_capital = following.isupper()
        if kind is Abbreviation.OPEN:
            return not (is_capital and "." in word and word != word.lower() and self._opens_sentence(stop))
        if kind is Abbreviation.NAME:
            return not (is_capital and self._opens_sentence(stop))
        if kind is Abbreviation.NUMBERED:
            if is_capital:
                name = self._next_word(stop)
                return _ROMAN_NUMBER.fullmatch(name) is not None or (
                    word[0] in "FESTCVA" and len(name) == 1 and name != "I"
                )
            return following.isdigit() or (len(word) == 1 and self._letter_goes_on(place))
        if kind is Abbreviation.DATE and not word[0].isupper():
            return False
        if not is_capital:
            return True
        if word.lower() in ("a.m", "p.m"):
            return self._next_word(stop) in AFTER_TIME
        return "." in word and word[0].isupper() and not self._opens_sentence(stop)

    def _letter_goes_on(self, place: int) -> bool:
        """Whether a letter without a capital after it is part of "i. e." or a label as in "two cases: a. x is even"."""
        text = self.text
        if text[place - 1] in _SPACED_LETTERS and any(
            _SPACED.match(text, max(self.start, place - distance)) for distance in _SPACED_PLACES
        ):
            return True
        return text[max(self.start, place - 4) : place - 1].rstrip()[-1:] in (":", ";")

    def _next_word(self, stop: int) -> str:
        found = _WORD.search(self.text, stop, stop + 24)
        return found[0] if found else ""

    def _opens_sentence(self, stop: int) -> bool:
        return self._next_word(stop) in OPENERS

    def _is_label(self, letter: int) -> bool:
        """Whether the capital at `letter` names an option or a thing, by the word before it."""
        before = self.text[max(self.start, letter - 20) : letter].split()
        if not before:
            return False
        word = before[-1].lower().strip(",:(*\"'")
        if word in ("and", "or"):
            # "A, B, and C. Tom" against "J. Smith and P. Jones".
            return len(before) > 1 and len(before[-2].strip(",(")) == 1
        return word in LABELED or (not word[-1:].isalpha() and not word.endswith("."))


def _continues_formula(text: str, at: int) -> bool:
    """Whether the line at `at`, behind a formula, continues its sentence: "where x is …", ", so …", but not "b) …"."""
    following = text[at]
    if following in _CONTINUES_FORMULA:
        return True
    return following.islower() and not (_LIST_LABEL.match(text, at) or _LETTER_LABEL.match(text, at))


def _is_glued(text: str, low: int, place: int, stop: int) -> bool:
    """Whether a space is missing after the stop at `place`: "2 apples.Then", not "U.S.A", "e.g.X" or "README.Md"."""
    words = text[low:place].rsplit(maxsplit=1)
    word = words[-1].lstrip("([{\"'*_“‘$-") if words else ""
    following = _WORD.match(text, stop)
    if following is None or not word or not _is_sentence_word(text, following):
        return False
    if re.fullmatch(r"\d[\d.,:/]*[%)\]*°”’\"]*", word):
        return True
    plain = word.rstrip(")]*\"'”’%°")
    kind = KINDS.get(plain.lower())
    if not plain.isalpha() or kind is Abbreviation.OPEN:
        return False
    is_word = len(plain) > 1 and plain.islower() and kind in (None, Abbreviation.MEASURE)
    return is_word or following[0] in OPENERS


def _is_sentence_word(text: str, word: re.Match[str]) -> bool:
    """Whether a word that begins with a capital looks like the first of a sentence, not a part of a name or of code."""
    if not (word[0][1:].islower() or word[0] in ("I", "A")):
        return False
    after = text[word.end() : word.end() + 2]
    return not after or after[0] in " \t\n,;:'’-" or (after[0] in ".!?" and not _CONTINUES_NAME.match(after, 1))
