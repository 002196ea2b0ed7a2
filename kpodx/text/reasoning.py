"""Taking the announcements of an answer out of a completion, so that whole sentences of reasoning are left.

The answer itself is read from the untouched text (`kpodx.text.answers`). Here each sentence is kept, removed, or cut to
the clause of reasoning that it holds besides its announcement.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from kpodx.text.announcement_forms import find_form, is_answer_heading, is_bare_value, is_closing_remark, is_dangling
from kpodx.text.announcements import find_answer_markers, is_checked
from kpodx.text.bare_heads import without_bare_head
from kpodx.text.boxes import has_box, unbox
from kpodx.text.clauses import has_equation, has_sure_verb, has_verb, keep_before, keep_equation, keep_reason
from kpodx.text.closers import without_closers
from kpodx.text.completeness import why_torn
from kpodx.text.completions import without_headings
from kpodx.text.cues import CJK, load_cues
from kpodx.text.escapes import single_backslashes
from kpodx.text.pieces import find_pieces
from kpodx.text.regions import closed_regions

_NO_ANNOUNCEMENT = re.compile(
    r"[\s*_]{0,4}(?:not\b|(?:correct|right|wrong|incorrect|reasonable|valid|plausible|verified|confirmed|clear|obvious)\b(?!\s{0,2}:)"
    r"|(?:found|obtained|calculated|given|determined|based|derived|computed|the same|in the|in one|to be found)\b"
    r"|(?:\w{1,12}\s){0,2}(?:something|someone|somewhere|somebody|a (?:place|thing|person|type|kind|way|number|word))"
    r"\s(?:that|which|where|who|whose|used|you|of|in|to|with)\b)",
    re.IGNORECASE,
)
"""What follows "the answer is" in reasoning about the answer."""
_VAGUE_VERB = re.compile(r"(?:would|should|will) be\s*:?\s*\Z", re.IGNORECASE)
_VALUE_NEXT = re.compile(
    r"[\s*_$\"'“(\[]{0,6}(?:[A-Ja-j][)\].,]|[A-J](?=\s|\Z)|[-−]?[$€£]?\d|\\|(?i:yes|no|true|false)\b)"
)
_OTHER_ANSWER = re.compile(
    r"(?:/|\b(?:next|first|second|third|fourth|fifth|previous|earlier|other|another|each|every|wrong|incorrect|one|his|her|their"
    r"|whose|intermediate|partial|\w{1,20}['’]s)\s{1,3})\Z",
    re.IGNORECASE,
)
"""What precedes "answer" if another one is meant than that of the question."""
_CLAUSE_OPENING = re.compile(
    r"(?:\A|[.!?:;,(—–\n>|*_-])[\s*_#]{0,8}(?:(?:and|so|thus|therefore|hence|then|now|finally|final|the)[\s,:*_]{1,3}){0,3}\Z",
    re.IGNORECASE,
)
"""What precedes a label such as "Answer:" that announces."""
_CONJUNCTION = re.compile(r"(?:and|but|so|thus|therefore|hence|then)\b", re.IGNORECASE)
_OUTPUT = re.compile(
    r"(?:`{3,20}|~{3,20})(?:output|text|txt|plaintext|console)?\s*(?P<line>[^\n`~]{1,400})\s*(?:`{3,20}|~{3,20})"
)
_LETTER_END = re.compile(r"(?:\A|[\s*_(:\"“])[A-Ja-j]\.[ ]{1,3}\Z")
_LONGEST_OPTION = 5
"""Words of an option's text that begins with a capital letter."""
_YES_NO = re.compile(r"\s*[*_]{0,3}(?:yes|no|true|false)[*_]{0,3}[.!][*_]{0,3}\s*", re.IGNORECASE)
_RULES = re.compile(r"(?:\n[ \t]{0,3}[-*_=]{3,80}[ \t]{0,20}){1,5}\Z")
_SUBJECT = re.compile(r"[-−]?[$€£]?\d(?:[\d,.]{0,20}\d)?%?(?:\s(?!(?:which|that|this|is|ist|es)\b)[^\W\d]{1,15}){0,2}")
"""A result that a marker without length points at: "72 clips"."""
_RELATIVE = re.compile(r",?\s(?:which|and (?:that|this))\s")
_SHORTEST_SENTENCE = 3
_LABELED = re.compile(r"[(\[]?[A-Ja-j][)\].:]\s")
_OPENS_CLAUSE = re.compile(
    r"(?:(?:she|he|they|it|we|you|there|each|every)\s[a-z]|(?:[A-Z]\w{1,20}|the \w{1,20})\s[a-z]{2,15}(?:s|ed)\s[^.!?\n]{0,60}\d)",
    re.IGNORECASE,
)
_TITLE = re.compile(r"\s{0,4}(?:#{1,6}\s|-{3,80}|\*\*[^*\n]{1,80}(?::\*\*|\*\*:?\s{0,3}(?:\n|\Z)))")
_SHORT_VALUE = 8
"""Words that the value of a heading has at most, if more text follows it."""


class Parts(NamedTuple):
    """A completion taken apart: its reasoning, its last announcement ("" if it has none), and how many were removed."""

    reasoning: str
    announcement: str
    num_announcements: int


@dataclass
class _Draft:
    """What is kept so far: (text, stop in the source) of each piece, and the announcements that were removed."""

    kept: list[tuple[str, int]]
    announcements: list[str]


@dataclass(frozen=True)
class _Source:
    """A text with the bounds of its pieces, and where answers are announced in it outside of code."""

    text: str
    pieces: list[tuple[int, int]]
    markers: list[tuple[int, int]]

    def piece(self, index: int) -> str:
        """Return the text of a piece, spaces included."""
        start, stop = self.pieces[index]
        return self.text[start:stop]


def take_apart(text: str) -> Parts:
    """Return the reasoning of a cleaned completion without any announcement of the answer.

    An announcement goes with its whole clause. A boxed value in a sentence of reasoning is unboxed, and the sentence stays.

    >>> take_apart("2 + 3 = 5, so the answer is (c). Therefore, Tom has \\\\boxed{5} eggs.\\n\\n### Final Answer\\n5").reasoning
    '2 + 3 = 5. Therefore, Tom has 5 eggs.'
    """
    text = single_backslashes(text)
    source = _Source(text, find_pieces(text), _markers_outside_code(text))
    draft = _Draft([], [])
    index = 0
    while index < len(source.pieces):
        index = _read_piece(source, index, draft)
    if draft.announcements:
        _drop_dangling(draft)
    reasoning = without_headings("".join(piece for piece, _ in draft.kept).strip())
    reasoning = without_closers(without_bare_head(reasoning))
    return Parts(
        _tidy(unbox(reasoning)), draft.announcements[-1] if draft.announcements else "", len(draft.announcements)
    )


def split_completion(text: str) -> tuple[str, str]:
    """Return (reasoning, last announcement of the answer) of a cleaned completion, each "" if there is none.

    >>> split_completion("2 + 3 = 5. So the answer is (c) five.")
    ('2 + 3 = 5.', 'So the answer is (c) five.')
    """
    parts = take_apart(text)
    return parts.reasoning, parts.announcement


def _markers_outside_code(text: str) -> list[tuple[int, int]]:
    r"""Return the (start, stop) of each marker of an answer, apart from those in code, and from \boxed."""
    blocks = closed_regions(text, "code")
    starts = [block.start for block in blocks]
    found = []
    for marker in find_answer_markers(text):
        block = bisect_right(starts, marker.start) - 1
        if not marker.boxed and (block < 0 or blocks[block].stop <= marker.start):
            found.append((marker.start, marker.stop))
    return found


def _read_piece(source: _Source, index: int, draft: _Draft) -> int:
    """Add what is kept of piece `index` to `draft`; return the index of the next piece to read."""
    piece = source.piece(index)
    cut = _find_announcement(source, index, draft)
    if cut is not None:
        return _remove_announcement(source, index, cut, draft)
    if not (draft.announcements and is_closing_remark(piece)):
        draft.kept.append((piece, source.pieces[index][1]))
    return index + 1


def _is_torn(kept: str) -> bool:
    """Return whether what is left of a cut sentence is not whole, or holds half of a display formula."""
    return why_torn(kept) is not None or kept.count("$$") % 2 == 1


def _remove_announcement(source: _Source, index: int, cut: _Cut, draft: _Draft) -> int:
    """Add what `cut` keeps of piece `index` to `draft`; return the index after its value."""
    start, stop = source.pieces[index]
    # What is kept of a cut sentence must be whole: an announcement inside a formula takes the formula with it.
    piece, kept = source.piece(index), "" if _is_torn(cut.kept) else cut.kept
    after = index + 1 if cut.has_value else _skip_value(source, index + 1, is_final=cut.is_final)
    if _is_option_text(source, after):
        kept = _join(kept, keep_reason(source.piece(after), 0))
        after += 1

    last = source.piece(after - 1)
    space = last[len(last.rstrip()) :]
    draft.announcements.append(source.text[start : source.pieces[after - 1][1]].strip())
    if kept:
        lead = piece[: len(piece) - len(piece.lstrip())]
        gap = "" if kept.endswith(("。", "！", "？")) else " "
        draft.kept.append((lead + kept + (space or gap), stop))
    else:
        _drop_lead(draft, start, space)
    return after


@dataclass(frozen=True)
class _Cut:
    """An announcement in a piece: what is kept of the piece, whether its value is there, and whether it is a final one."""

    kept: str
    has_value: bool = True
    is_final: bool = True


def _find_announcement(source: _Source, index: int, draft: _Draft) -> _Cut | None:
    """Return what is kept of a piece that announces the answer, or None if it does not."""
    piece = source.piece(index)
    if not any(map(str.isalnum, piece)):
        return None
    if piece.lstrip().startswith(("```", "~~~")):
        return _Cut("") if _prints_announcement(piece) else None
    if is_answer_heading(piece):
        return _Cut("", has_value=False, is_final="final" in piece.lower())
    marked = _find_marked(source, index)
    if marked is not None:
        return marked
    form = find_form(piece)
    if form is not None and form.verb is not None and has_equation(piece[form.start : form.verb]):
        return _Cut(keep_before(piece, form.verb, is_linked=True))
    if form is not None:
        return _Cut(_join(keep_before(piece, form.start, is_linked=True), keep_reason(piece, form.stop)))
    return _Cut("") if _is_lone_value(source, index, draft) else None


def _prints_announcement(block: str) -> bool:
    """Return whether a code block is the output of a program that prints an announcement of the answer."""
    output = _OUTPUT.fullmatch(block.strip())
    return output is not None and bool(find_answer_markers(output["line"]) or find_form(output["line"]))


def _find_marked(source: _Source, index: int) -> _Cut | None:
    """Return the cut of the first marker ("the answer is", "Answer:", "####") of a piece that announces an answer."""
    start, stop = source.pieces[index]
    for number in range(bisect_left(source.markers, (start, 0)), len(source.markers)):
        marker_start, marker_stop = source.markers[number]
        if marker_start >= stop:
            return None
        piece = source.text[start:stop]
        at, value_at = marker_start - start, min(marker_stop, stop) - start
        if _announces(piece, at, value_at):
            is_linked = _CONJUNCTION.match(piece, at) is not None
            has_value = any(map(str.isalnum, piece[value_at:]))
            subject = _SUBJECT.match(piece, at) if at == value_at else None
            if subject and (piece[:at].rstrip().endswith("=") or _RELATIVE.match(piece, subject.end())):
                # "48 + 24 = 72, which is the answer": the marker points at the result of a sum, which stays.
                return _Cut(keep_before(piece, subject.end(), is_linked=True))
            rest = keep_equation(piece, value_at) or keep_reason(piece, value_at)
            is_final = "final" in piece[at:value_at].lower()
            if has_value and not rest and _heads_sentence(source, index, at, value_at):
                rest = _sentence_of(piece[value_at:])
            kept = _join(keep_before(piece, at, is_linked=is_linked), rest)
            return _Cut(kept, has_value, is_final=is_final)
    return None


def _announces(piece: str, start: int, stop: int) -> bool:
    """Return whether the marker at [start, stop) of `piece` announces an answer, and is no remark about one."""
    marker, before, after = piece[start:stop], piece[:start], piece[stop:]
    if marker == "####":
        return is_bare_value(after.partition("\n")[0])
    if _NO_ANNOUNCEMENT.match(after) or _OTHER_ANSWER.search(before) or is_checked(before):
        return False
    if _VAGUE_VERB.search(marker):
        return _VALUE_NEXT.match(after) is not None
    is_label = marker.rstrip(" *_").endswith((":", "="))
    return not is_label or _CLAUSE_OPENING.search(before) is not None or is_bare_value(after)


def _skip_value(source: _Source, index: int, *, is_final: bool) -> int:
    """Return the index after the value that belongs to an announcement before piece `index`."""
    at = index
    while at < len(source.pieces) and not any(map(str.isalnum, source.piece(at))):
        at += 1
    if at >= len(source.pieces):
        return len(source.pieces)
    if not is_final and _is_sentence(source.piece(at)) and _goes_on(source, at + 1):
        return index
    is_last = at + 1 == len(source.pieces)
    is_short = len(source.piece(at).split()) <= _SHORT_VALUE
    return at + 1 if is_final or is_last or is_short else index


def _heads_sentence(source: _Source, index: int, at: int, value_at: int) -> bool:
    """Return whether the label at [at, value_at) of a piece, such as "Answer:", is above a sentence that reasoning follows."""
    piece = source.piece(index)
    is_label = piece[at:value_at].rstrip(" *_").endswith((":", "："))
    return is_label and _is_sentence(piece[value_at:]) and _goes_on(source, index + 1)


def _sentence_of(value: str) -> str:
    """Return the sentence behind a label, without emphasis that the label opened."""
    sentence = value.strip().lstrip("*_: ")
    if sentence.count("**") % 2:
        sentence = sentence.replace("**", "")
    return without_bare_head(sentence)


def _is_sentence(value: str) -> bool:
    """Return whether what follows a label is a sentence of reasoning, and not an answer or another announcement."""
    sentence = _sentence_of(value)
    words = len(re.findall(r"\w+", sentence)) + len(re.findall(f"[{CJK}]", sentence)) // 2
    if words < _SHORTEST_SENTENCE or _LABELED.match(sentence) or is_bare_value(sentence):
        return False
    if find_form(sentence) or find_answer_markers(sentence) or is_answer_heading(sentence):
        return False
    if sentence != value.strip().lstrip("*_: "):
        # "Yes, hens lay eggs": what follows a yes is a sentence.
        return True
    if has_sure_verb(sentence) or (_OPENS_CLAUSE.match(sentence) and has_verb(sentence)):
        return True
    is_closed = sentence.rstrip("*_ \n").endswith((".", "!", "。", "！"))
    return is_closed and not _has_english(sentence) and load_cues().finite.search(sentence) is not None


def _has_english(sentence: str) -> bool:
    return not load_cues().english.isdisjoint(re.findall(r"[a-z]+", sentence.lower()))


def _goes_on(source: _Source, index: int) -> bool:
    """Return whether reasoning follows from piece `index` on: no announcement, and no heading of an explanation."""
    while index < len(source.pieces) and not any(map(str.isalnum, source.piece(index))):
        index += 1
    if index >= len(source.pieces):
        return False
    start, stop = source.pieces[index]
    marker = bisect_left(source.markers, (start, 0))
    if marker < len(source.markers) and source.markers[marker][0] < stop:
        return False
    piece = source.piece(index)
    return not (is_closing_remark(piece) or find_form(piece) or has_box(piece) or is_bare_value(piece)) and (
        without_headings(piece + "x") == piece + "x" and _TITLE.match(piece) is None
    )


def _is_option_text(source: _Source, index: int) -> bool:
    """Return whether piece `index` is the text of the option whose letter ends the piece before it: "B. zoo"."""
    if index >= len(source.pieces) or _LETTER_END.search(source.piece(index - 1)) is None:
        return False
    piece = source.piece(index)
    return piece[:1].islower() or (len(piece.split()) <= _LONGEST_OPTION and not has_sure_verb(piece))


def _is_lone_value(source: _Source, index: int, draft: _Draft) -> bool:
    """Return whether a piece is nothing but the answer: a boxed value anywhere, any value as first or last line."""
    piece = source.piece(index)
    is_boxed = has_box(piece)
    # A value without a box is at an edge: with an option's text at most the second piece from the end.
    if (0 < index < len(source.pieces) - 2 and not is_boxed) or _follows_colon(draft):
        return False
    if is_boxed:
        return is_bare_value(unbox(piece))
    if index == 0 and len(source.pieces) > 1 and _YES_NO.fullmatch(piece):
        return True
    stop = index + 1 + _is_option_text(source, index + 1)
    is_edge = len(source.pieces) > stop - index and (index == 0 or stop == len(source.pieces))
    if not (is_edge and _fills_line(source, index, stop) and is_bare_value(piece)):
        return False
    # Several in a row are a list of options, or a column.
    neighbors = [*range(max(0, index - 2), index), *range(stop, min(stop + 2, len(source.pieces)))]
    return not any(is_bare_value(source.piece(neighbor)) for neighbor in neighbors)


def _fills_line(source: _Source, index: int, stop: int) -> bool:
    """Return whether the pieces [index, stop) are lines of their own."""
    start, end = source.pieces[index][0], source.pieces[stop - 1][1]
    begins = not source.text[:start].strip() or source.text[:start].rstrip(" \t").endswith("\n")
    return begins and (end == len(source.text) or "\n" in source.text[end - 2 : end + 1])


def _follows_colon(draft: _Draft) -> bool:
    return bool(draft.kept) and draft.kept[-1][0].rstrip(" \n*_").endswith((":", "="))


def _drop_lead(draft: _Draft, start: int, space: str) -> None:
    """Drop what led to the removed piece at `start`, and keep the line break after it."""
    while draft.kept and draft.kept[-1][1] == start and is_dangling(draft.kept[-1][0]):
        start = draft.kept[-1][1] - len(draft.kept[-1][0])
        draft.kept.pop()
    if draft.kept and "\n" in space:
        piece, stop = draft.kept[-1]
        body = piece.rstrip()
        gap = piece[len(body) :]
        if gap.count("\n") < space.count("\n"):
            draft.kept[-1] = (body + space, stop)
        elif "\n" in gap:
            # The indentation of the removed line goes with it.
            draft.kept[-1] = (body + gap[: gap.rfind("\n") + 1] + space[space.rfind("\n") + 1 :], stop)


def _drop_dangling(draft: _Draft) -> None:
    """Drop headings, rules and half-sentences that are left at the end of the text."""
    while draft.kept and (is_dangling(draft.kept[-1][0]) or not any(map(str.isalnum, draft.kept[-1][0]))):
        is_formula = draft.kept[-1][0].rstrip().endswith(("```", "\\]", "$$", "|"))
        if is_formula and any(map(str.isalnum, draft.kept[-1][0])):
            return
        draft.kept.pop()


def _join(before: str, rest: str) -> str:
    """Return both parts of a sentence as sentences."""
    if before and rest and not before.endswith((".", "!", "?")):
        before += "."
    return " ".join(part for part in (before, rest) if part)


def _tidy(text: str) -> str:
    """Return `text` with no more than one empty line in a row, and without horizontal rules at its end."""
    if "\n" not in text:
        return text.strip()
    return re.sub(r"\n[ \t]{0,20}\n(?:[ \t]{0,20}\n)+", "\n\n", _RULES.sub("", text.rstrip())).strip()
