"""The marks that reasoning models put around their thoughts and answers: one table, one search.

Sources: the chat templates and reasoning parsers of Qwen3, DeepSeek-R1, gpt-oss (harmony), Magistral, Kimi, Command A,
Gemma 4, Apertus, Seed-OSS, OpenThinker, Solar, s1, GLM, Granite, Hunyuan and ERNIE, `ollama run`, and tags that people ask
for in their own prompts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_SAME_FAMILY = (
    "think", "thinking", "thought", "thoughts", "thought_process", "thinking_process", "antthinking", "思考", "思考过程",
)  # fmt: skip
"""Tags that close each other: some models open with one and close with another."""
_OWN_FAMILY = (
    "reasoning", "reason", "reflection", "reflect", "analysis", "scratchpad", "deliberation", "cot", "chain_of_thought",
    "inner_monologue", "internal_monologue", "inner_thought", "inner_thoughts", "reasoning_process", "推理", "推理过程",
)  # fmt: skip
_ANSWER_TAGS = ("answer", "final_answer", "ans", "答案")
_WRAPPER_TAGS = ("response", "output", "solution", "conclusion", "explanation", "summary", "rationale", "final")
"""Tags around the explanation: they say nothing, and the explanation stays."""

_PAIRS = {
    "bracket": (r"(?-i:\[THINK(?:ING)?\])", r"(?-i:\[/THINK(?:ING)?\])"),
    "bracket reasoning": (r"(?-i:\[REASONING\])", r"(?-i:\[/REASONING\])"),
    "triangle": (r"◁think▷", r"◁/think▷"),
    "bar": (
        r"<[|｜]think(?:ing)?[|｜]>",
        r"<[|｜]/think(?:ing)?[|｜]>|(?:<\|end\|>)?\s{0,3}<\|begin\|>assistant\s{0,3}<\|content\|>",
    ),
    "role": (r"<\|im_start\|>think\b", r"(?:<\|im_end\|>\s{0,3})?<\|im_start\|>answer\b"),
    "start": (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    "begin": (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    "inner": (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
    "channel": (r"<\|channel>(?:thought|thinking|analysis)?", r"<channel\|>"),
}
"""Marks other than tags: what opens a thought and what closes it, by family."""
_WRAPPERS = r"<\|(?:START_RESPONSE|END_RESPONSE|START_TEXT|END_TEXT|begin_of_solution|end_of_solution|begin_of_box|end_of_box)\|>"

HARMONY_PIECES = frozenset(
    f"<|{name}|>" for name in ("start", "channel", "constrain", "message", "end", "return", "call")
)
"""The special tokens of the harmony format, which gpt-oss writes."""


def _alternatives(names: Iterable[str]) -> str:
    # The longest first, and any of "_", "-" and " " between words.
    return "|".join(name.replace("_", "[_ -]?") for name in sorted(names, key=len, reverse=True))


def _bare(name: str) -> str:
    """Return a tag's name without regard to case and to what separates its words."""
    return re.sub(r"[_ -]", "", name.lower())


_BARE_FAMILY = frozenset(map(_bare, _SAME_FAMILY))
_BARE_ANSWERS = frozenset(map(_bare, _ANSWER_TAGS))
_BARE_WRAPPERS = frozenset(map(_bare, _WRAPPER_TAGS))

# All gaps are bounded, so that no text makes the search slower than linear.
_TAG = (
    r"(?:<|&lt;)\s{0,3}(?P<slash>/?)\s{0,3}(?:[a-z]{1,12}:)?"
    rf"(?P<name>{_alternatives((*_SAME_FAMILY, *_OWN_FAMILY, *_ANSWER_TAGS, *_WRAPPER_TAGS))})"
    r"(?:\s[^<>]{0,100})?\s{0,3}(?P<empty>/?)(?:>|&gt;)"
)
_OPENING = "|".join(f"(?P<open_{row}>{opening})" for row, (opening, _) in enumerate(_PAIRS.values()))
_CLOSING = "|".join(f"(?P<close_{row}>{closing})" for row, (_, closing) in enumerate(_PAIRS.values()))
_MARK = re.compile(rf"{_TAG}|{_OPENING}|{_CLOSING}|(?P<wrapper>{_WRAPPERS})", re.IGNORECASE)
_SIGNS = ("<", "&", "[", "◁")
"""Every mark begins with one of these or with white space."""
_FAMILIES = tuple(_PAIRS)
_QUOTES = frozenset("`'\"")


class Kind(StrEnum):
    """What a mark does."""

    OPEN = "open"
    CLOSE = "close"
    ANSWER = "answer"
    ANSWER_END = "answer end"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Mark:
    """A mark in a text: what it does, which marks close it (`family`), and where it stands."""

    kind: Kind
    family: str
    start: int
    stop: int


def find_marks(text: str) -> list[Mark]:
    """Return every mark of `text` in order; a mark in quotes is only a mention.

    >>> [(mark.kind.value, mark.start, mark.stop) for mark in find_marks("<think>So.</think> 5")]
    [('open', 0, 7), ('close', 10, 18)]
    """
    # Most completions hold no mark, and a plain search is much faster than the pattern.
    if not any(sign in text for sign in _SIGNS):
        return []
    return [_classify(match) for match in _MARK.finditer(text) if not _is_quoted(text, match.start(), match.end())]


def _is_quoted(text: str, start: int, stop: int) -> bool:
    before, after = text[start - 1 : start], text[stop : stop + 1]
    return before == after and before in _QUOTES


def _classify(match: re.Match[str]) -> Mark:
    kind, family = _kind_of_tag(match) if match["name"] else _kind_of_pair(str(match.lastgroup))
    return Mark(kind, family, match.start(), match.end())


def _kind_of_pair(group: str) -> tuple[Kind, str]:
    """Return the kind and the family of "open_3", "close_3" or "wrapper"."""
    word, _, row = group.partition("_")
    if not row:
        return Kind.NOTHING, ""
    return Kind.OPEN if word == "open" else Kind.CLOSE, _FAMILIES[int(row)]


def _kind_of_tag(match: re.Match[str]) -> tuple[Kind, str]:
    name = _bare(match["name"])
    is_closing = bool(match["slash"])
    if match["empty"] or name in _BARE_WRAPPERS:
        return Kind.NOTHING, ""
    if name in _BARE_ANSWERS:
        return Kind.ANSWER_END if is_closing else Kind.ANSWER, ""
    family = "think" if name in _BARE_FAMILY else name
    return Kind.CLOSE if is_closing else Kind.OPEN, family


def marks_among(tokens: Iterable[str]) -> frozenset[str]:
    """Return the special tokens that mark thoughts and answers: a decoder must not drop these.

    >>> sorted(marks_among(["</s>", "<|im_end|>", "[THINK]", "[/THINK]"]))
    ['[/THINK]', '[THINK]']
    """
    given = frozenset(tokens)
    marks = {token for token in given if _MARK.fullmatch(token)}
    # "<|end|>" alone ends a turn in other formats.
    is_harmony = {"<|channel|>", "<|message|>"} <= given
    return frozenset(marks | (given & HARMONY_PIECES if is_harmony else set()))
