"""Separating what a reasoning model thought from what it then explained.

A thought arrives in a field of its own, between tags or special tokens, before a closing mark alone (the opening one stood
in the prompt), or in a channel of the harmony format. Whatever the shape, the result is the same record. Nothing here raises
on any text, and all of it takes time linear in the text's length.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from kpodx.text.announcements import find_answer_markers
from kpodx.text.prompts import answer_sentence
from kpodx.text.steps import count_steps
from kpodx.text.thought_marks import Kind, Mark, find_marks


@dataclass(frozen=True)
class Separated:
    """A teacher's text, taken apart.

    Attributes:
        thought: what the model thought, its blocks in order, without marks.
        explanation: what it wrote for the reader, without marks; an answer in tags became an answer sentence.
        is_unclosed: whether the text ends inside a thought, so that its end is missing.
    """

    thought: str
    explanation: str
    is_unclosed: bool = False


# One completion is separated several times: for its second question, as a candidate, and for the estimate of the cost.
@functools.lru_cache(maxsize=64)
def separate_thoughts(text: str, thought: str = "") -> Separated:
    """Separate the thought from the explanation.

    Args:
        text: the completion as the teacher wrote it.
        thought: what the teacher gave in a field of its own, such as `reasoning_content`.

    >>> separate_thoughts("<think>Maybe 4? No.</think>\\n2 + 3 = 5.")
    Separated(thought='Maybe 4? No.', explanation='2 + 3 = 5.', is_unclosed=False)
    >>> separate_thoughts("Maybe 4? No.</think> <answer>5</answer>").explanation
    'Therefore, the answer is 5.'
    """
    inside = _separate_text(text)
    given = _without_marks(thought)
    # Some servers give the thought twice: in its field and in the text.
    if not given or given == inside.thought:
        return inside
    return Separated(_lines([given, inside.thought]), inside.explanation, inside.is_unclosed)


def opened_thought(prompt: str) -> str:
    """Return the mark at the end of `prompt` that has opened a thought, or "" if none has.

    A chat template may open the thought itself. Put before the completion, the mark shows where the thought began even if
    its end is missing.

    >>> opened_thought("<|assistant|><think>\\n"), opened_thought("<think>\\n\\n</think>\\n\\n")
    ('<think>', '')
    """
    tail = prompt[-_LONGEST_MARK:]
    header = _HEADER_AT_END.search(tail)
    if header:
        return header[0].strip()
    marks = find_marks(tail)
    if marks and marks[-1].kind is Kind.OPEN and not tail[marks[-1].stop :].strip():
        return tail[marks[-1].start : marks[-1].stop]
    return ""


def _separate_text(text: str) -> Separated:
    """Separate by channels, then by the marks inside what is left for the reader."""
    outer = _read_channels(text)
    inner = _read_marks(outer.explanation)
    thought = _lines([_without_marks(outer.thought), inner.thought])
    return Separated(thought, inner.explanation, outer.is_unclosed or inner.is_unclosed)


def _read_channels(text: str) -> Separated:
    """Separate a text that tells its parts by headers: harmony's, with or without its special tokens, or Granite's."""
    if "<|message|>" in text:
        return _read_harmony(text)
    if _SWALLOWED_CHANNEL.match(text):
        return _read_swallowed_harmony(text)
    for heading, ending in _HEADINGS:
        first = heading.match(text)
        second = ending.search(text, first.end()) if first else None
        if first and second:
            return Separated(text[first.end() : second.start()], text[second.end() :].strip())
    return Separated("", text)


_HEADINGS = (
    # Granite 3 separates by sentences, and `ollama run` prints lines of its own.
    (
        re.compile(r"\s{0,20}[*]{0,2}Here(?: is|'s|’s) my thought process:[*]{0,2}", re.IGNORECASE),
        re.compile(r"[*]{0,2}Here(?: is|'s|’s) my response:[*]{0,2}", re.IGNORECASE),
    ),
    (re.compile(r"\s{0,20}Thinking\.\.\.\s"), re.compile(r"\n\.\.\.done thinking\.")),
)


# Harmony: messages of a role in a channel.
_HEADER = re.compile(
    r"(?:<\|start\|>[^<]{0,60})?(?:<\|channel\|>\s{0,3}(?P<channel>\w{1,30})[^<]{0,200})?(?:<\|constrain\|>[^<]{0,60})?<\|message\|>"
    r"|\A\s{0,10}(?P<bare>analysis|commentary|final)\b[^<]{0,200}<\|message\|>"
)
_HEADER_AT_END = re.compile(r"<\|channel\|>\s{0,3}(?:analysis|commentary)\b[^<]{0,60}<\|message\|>\s{0,10}\Z")
_MESSAGE_END = re.compile(r"<\|(?:end|return|call)\|>")
_STRAY_PIECE = re.compile(r"<\|(?:start|channel|constrain|message|end|return|call)\|>")
# Servers that drop special tokens leave the words of the headers in the text: "analysisWe add.assistantfinal2 + 3 = 5."
_SWALLOWED_CHANNEL = re.compile(r"analysis(?=[A-Z])")
_SWALLOWED_FINAL = "assistantfinal"
_FINAL_CHANNELS = frozenset({"final", "response", "answer"})
_LONGEST_MARK = 300


def _read_harmony(text: str) -> Separated:
    """Separate harmony's channels: `final`, or no channel at all, is the explanation; all others are thoughts."""
    headers = list(_HEADER.finditer(text))
    if not headers:
        return Separated("", _STRAY_PIECE.sub("", text).strip())
    # What stands before the first header continues a message whose header stood in the prompt.
    thoughts = [_cut_message(text[: headers[0].start()])[0]]
    explanations: list[str] = []
    is_unclosed = False
    stops = [header.start() for header in headers[1:]] + [len(text)]
    for header, stop in zip(headers, stops, strict=True):
        body, has_end = _cut_message(text[header.end() : stop])
        channel = header["channel"] or header["bare"] or "final"
        is_final = channel.lower() in _FINAL_CHANNELS
        (explanations if is_final else thoughts).append(body)
        is_unclosed = not is_final and not has_end and stop == len(text)
    return Separated(_lines(thoughts), _lines(explanations), is_unclosed)


def _read_swallowed_harmony(text: str) -> Separated:
    """Separate harmony's channels by the words that stood between the special tokens."""
    thought, final, explanation = text.removeprefix("analysis").partition(_SWALLOWED_FINAL)
    return Separated(thought.strip(), explanation.strip(), is_unclosed=not final)


def _cut_message(text: str) -> tuple[str, bool]:
    """Return a message's body up to its end mark, and whether it has one."""
    end = _MESSAGE_END.search(text)
    body = text[: end.start()] if end else text
    return _STRAY_PIECE.sub("", body).strip(), end is not None


@dataclass
class _Reader:
    """Collects the pieces of a text between its marks.

    Attributes:
        thoughts: finished blocks.
        explanations: pieces for the reader; those from `loose` on came after the last closing mark.
        loose: where these begin.
        block: pieces of the thought that is open.
        family: which marks close it; None outside a thought.
        in_answer: whether an answer's tag is open.
    """

    thoughts: list[str] = field(default_factory=list)
    explanations: list[str] = field(default_factory=list)
    loose: int = 0
    block: list[str] = field(default_factory=list)
    family: str | None = None
    in_answer: bool = False

    def take(self, piece: str, mark: Mark) -> None:
        """Take the piece before a mark, then obey the mark."""
        if self.family is not None:
            self.block.append(piece)
            if mark.kind is Kind.CLOSE and mark.family == self.family:
                self._close()
            return
        self._explain(piece, is_answer=self.in_answer and mark.kind is Kind.ANSWER_END)
        if mark.kind is Kind.OPEN:
            self.family = mark.family
        elif mark.kind is Kind.CLOSE:
            self._close_without_opening()
        self.in_answer = mark.kind is Kind.ANSWER or (self.in_answer and mark.kind is Kind.NOTHING)

    def finish(self, piece: str) -> Separated:
        """Take the last piece, and return what the text was."""
        is_unclosed = self.family is not None
        if is_unclosed:
            self.block.append(piece)
            self._close()
        else:
            self._explain(piece, is_answer=self.in_answer)
        return Separated(_lines(self.thoughts), _joined(self.explanations), is_unclosed)

    def _explain(self, piece: str, *, is_answer: bool) -> None:
        self.explanations.append(f"\n{_announced(piece)}\n" if is_answer else piece)

    def _close(self) -> None:
        self.thoughts.append(_joined(self.block))
        self.block, self.family, self.loose = [], None, len(self.explanations)

    def _close_without_opening(self) -> None:
        """All since the last closing mark was a thought: its opening mark stood in the prompt, or in the thought before."""
        self.block = self.explanations[self.loose :]
        del self.explanations[self.loose :]
        self._close()


def _read_marks(text: str) -> Separated:
    """Separate by tags and by pairs of special tokens."""
    marks = find_marks(text)
    if not marks:
        return Separated("", text)
    reader, start = _Reader(), 0
    for mark in marks:
        reader.take(text[start : mark.start], mark)
        start = mark.stop
    return reader.finish(text[start:])


def _without_marks(thought: str) -> str:
    """Return the text of a thought's own field; its marks say nothing there."""
    if not thought:
        return ""
    text = _STRAY_PIECE.sub("", thought)
    bounds = [0, *(place for mark in find_marks(text) for place in (mark.start, mark.stop)), len(text)]
    return _joined([text[start:stop] for start, stop in zip(bounds[::2], bounds[1::2], strict=True)])


_LONGEST_ANSWER_WORDS = 12
_ENDS = ".!?。"


def _announced(piece: str) -> str:
    """Return what stood in an answer's tags: as an answer sentence if it is an answer alone, else as it is.

    >>> _announced(" 12. "), _announced("3 + 4 = 7. So it is 7.")
    ('Therefore, the answer is 12.', '3 + 4 = 7. So it is 7.')
    """
    content = piece.strip()
    is_explanation = "=" in content or len(content.split()) > _LONGEST_ANSWER_WORDS or count_steps(content) > 1
    is_sentence = any(not marker.boxed for marker in find_answer_markers(content))
    if not content or is_explanation or is_sentence:
        return content
    return answer_sentence(content.rstrip(_ENDS))


_OPENERS, _CLOSERS = frozenset("([{$*_“‘«"), frozenset(")]}.,;:!?%$*_”’»")


def _joined(pieces: list[str]) -> str:
    """Return the pieces between marks as one text.

    Whitespace beside a mark stays once, and brackets and punctuation join what is beside them; else a new line separates.
    """
    parts: list[str] = []
    last = " "
    for piece in filter(str.strip, pieces):
        if last.isspace():
            parts.append(piece.lstrip())
        elif piece[0].isspace() or last in _OPENERS or piece[0] in _CLOSERS:
            parts.append(piece)
        else:
            parts.append("\n" + piece)
        last = piece[-1]
    return "".join(parts).strip()


def _lines(blocks: list[str]) -> str:
    """Return blocks below each other, empty ones left out."""
    return "\n".join(stripped for block in blocks if (stripped := block.strip()))
