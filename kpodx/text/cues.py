"""The phrases by which languages announce, conclude, hedge or withhold an answer: `cues.toml`, read once, when first needed."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

FULL_WIDTH = str.maketrans({code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {0x3000: " "})
"""Full-width letters, digits and signs to plain ones; every character keeps its place."""

CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
"""Characters of scripts that put no space between words, for use inside a character class."""

_LETTER = r"""[(\["“*_$\\]{0,3}(?-i:[A-Z])(?:[)\]"”*_$.:,;]|\\\)|(?![\w'’]))"""
_SHORTCUTS = {
    "<value>": rf"""(?:{_LETTER}|[(\["“*_$\\]{{0,3}}-?\d)""",
    "<letter>": _LETTER,
    "<to>": r"[ *_]{0,3}(?:[:=]>?|[-–]{1,2}>|[→⇒➜➔➡⟶⟹≈▶►]|\$?\\(?:(?:long)?rightarrow|to|implies|mapsto)(?![a-z])\$?)",
    "<end>": r"(?:[\w,.]{0,15}[ .)*_$\]]{0,6}(?:\n|\Z))",
    "<last>": r"(?:[ .)*_$\]\n]{0,6}\Z)",
    "<cut>": r"[*_ ]{0,3}\Z",
}

_SENTENCE_OPENING = (
    r"""(?:[.!?…:;\n。！？，；：—–(*])[\s"'(*_>]{0,6}"""
    r"(?:(?:but|oh|ah|hmm+|uh|um|well|so|and|no|sorry|okay|ok|aber|oh nein|pero|但|哦)[,.!…，]{0,3}\s{0,2}){0,3}"
)
"""What precedes the words by which a sentence, or a clause behind a comma, takes something back."""
_IN_PHRASE = r"(?! (?:total|all|sum|short|fact|conclusion|summary|the end(?! of))\b)(?: [^\W\d]{1,12}){0,4}?"
_BEFORE_FIGURE = (
    r"(?:\s{1,2}(?:the|a|an|only|just|about|his|her|their|its|these|those|all|original|originally|usual|previous|der|die|das|den"
    r"|dem|nur|los|las|el|la)){0,3}[\s(]{0,2}[$€£¥₹]?\Z"
)
"""What may come between such words and their figure, at the end of a text."""


@dataclass(frozen=True)
class Announcements:
    """How one language announces an answer.

    Attributes:
        hints: lower-case texts; one of them is in every strong announcement.
        weak_hints: the same for weak announcements.
        strong: matches an announcement up to the place where the answer begins.
        weak: matches one that counts only in a text without any other; None if the language has none.
        decimal_comma: whether the language writes 3.5 as "3,5".
    """

    language: str
    hints: tuple[str, ...]
    weak_hints: tuple[str, ...]
    strong: re.Pattern[str]
    weak: re.Pattern[str] | None
    decimal_comma: bool


@dataclass(frozen=True)
class UnitWords:
    """Words for finding the unit that a question asks for.

    Attributes:
        modifiers: words that may come between "how many" and the noun.
        stops: words that end the noun.
        plurals: plurals without an "s".
        money: units of money, singular.
        measures: singular units that make one measure together, such as those of "4 hours and 30 minutes".
    """

    modifiers: frozenset[str]
    stops: frozenset[str]
    plurals: frozenset[str]
    money: frozenset[str]
    measures: tuple[frozenset[str], ...]


@dataclass(frozen=True)
class Cues:
    """The cues of all languages; patterns without an announcement serve every language at once.

    Attributes:
        languages: the announcements, by language.
        conclusion: matches the opening of a concluding sentence.
        hedge: matches words before the answer that do not change it.
        refusal: finds a statement that there is no answer.
        comment: matches a remark about the answer that does not give it.
        retraction: finds a sentence that takes an answer back.
        second_look: finds a sentence that may come to another answer.
        confirmation: finds a statement that an answer was right.
        contrast: finds, at the end of what precedes a number, words that say that it is not the answer.
        preposition: finds, at the end of what precedes a number, the opening of a phrase such as "after (5 years)".
        closer: matches the opening of a closing sentence for the reader of a chat.
        finite: finds a verb of a language other than English.
        yes_or_no: finds "yes" or "no" as the groups `yes` and `no`, perhaps behind a `negated`.
        yes_and_no: finds both side by side ("yes or no", "yes/no").
        english: common lower-case words of English.
        foreign: common lower-case words of other languages, cues or not.
        unit_words: words for finding the unit that a question asks for.
    """

    languages: Mapping[str, Announcements]
    conclusion: re.Pattern[str]
    hedge: re.Pattern[str]
    refusal: re.Pattern[str]
    comment: re.Pattern[str]
    retraction: re.Pattern[str]
    second_look: re.Pattern[str]
    confirmation: re.Pattern[str]
    contrast: re.Pattern[str]
    preposition: re.Pattern[str]
    closer: re.Pattern[str]
    finite: re.Pattern[str]
    yes_or_no: re.Pattern[str]
    yes_and_no: re.Pattern[str]
    english: frozenset[str]
    foreign: frozenset[str]
    unit_words: UnitWords


@functools.cache
def load_cues() -> Cues:
    """Return the cues of `cues.toml`, compiled."""
    table = tomllib.loads(resources.files(__package__).joinpath("cues.toml").read_text(encoding="utf-8"))
    conclusions, hedges, refusals, comments = _joined(table, "conclusions", "hedges", "refusals", "comments")
    retractions, second_looks, confirmations = _joined(table, "retractions", "second_looks", "confirmations")
    contrasts, prepositions, closers, finite = _joined(table, "contrasts", "prepositions", "closers", "finite")
    return Cues(
        languages={name: _announcements(name, entry) for name, entry in table.items()},
        conclusion=_compile(rf"[^\w$(\[]{{0,6}}(?:{conclusions})"),
        hedge=_compile(rf"(?:[ ,:*]{{0,3}}(?:{hedges})(?=[\s,:(\[*{CJK}A-Z])){{1,3}}[ ,:]{{0,3}}"),
        refusal=_compile(refusals),
        comment=_compile(rf"\W{{0,3}}(?:(?:indeed|also|then|thus|therefore|clearly) )?(?:{comments})"),
        retraction=_compile(rf"{_SENTENCE_OPENING}(?:{retractions})"),
        second_look=_compile(rf"{_SENTENCE_OPENING}(?:{second_looks})"),
        confirmation=_compile(rf"{confirmations}|[✓✔✅]"),
        contrast=_compile(rf"(?:{contrasts}){_BEFORE_FIGURE}"),
        preposition=_compile(rf"\A\W{{0,4}}(?:that |dass |que )?(?:{prepositions}){_IN_PHRASE}{_BEFORE_FIGURE}"),
        closer=_compile(rf"\W{{0,6}}(?:{closers})"),
        finite=_compile(finite),
        yes_or_no=_yes_or_no(table),
        yes_and_no=_yes_and_no(table),
        english=frozenset(table["english"]["words"].split()),
        foreign=frozenset(table["english"]["other_words"].split()),
        unit_words=_unit_words(table["english"]["unit_words"]),
    )


def _joined(table: Mapping[str, Mapping[str, Any]], *names: str) -> Iterator[str]:
    """Yield, per list of cues, one alternative of the patterns of all languages."""
    for name in names:
        yield _any_word([pattern for entry in table.values() for pattern in entry.get(name, ())])


def _unit_words(entry: Mapping[str, Any]) -> UnitWords:
    modifiers, stops, plurals, money = (
        frozenset(entry[name].split()) for name in ("modifiers", "stops", "plurals", "money")
    )
    return UnitWords(modifiers, stops, plurals, money, tuple(frozenset(text.split()) for text in entry["measures"]))


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _announcements(language: str, entry: Mapping[str, Any]) -> Announcements:
    """Return how `language` announces, its patterns compiled."""
    tail = r"[ *_]{0,4}[:：]?"
    # Fails at once at most places, if the lead and the nouns begin with a word.
    opening = r"\b(?=\w)" if entry["lead"].startswith(r"(?:\b") else ""
    sentence = (
        rf"{opening}{entry['lead']}(?:{'|'.join(entry['nouns'])})(?:[ *_]{{0,3}}[(（][^()（）\n]{{1,40}}[)）])?[*_]{{0,2}}"
        rf"(?:{'|'.join(entry['verbs'])}){tail}"
    )
    strong = "|".join([sentence, *entry["announcements"]])
    weak = "|".join(entry["weak"])
    return Announcements(
        language,
        tuple(entry["hints"]),
        tuple(entry.get("weak_hints", entry["hints"])),
        _compile(_expand(strong)),
        _compile(_expand(weak)) if weak else None,
        entry.get("decimal_comma", False),
    )


def _expand(pattern: str) -> str:
    for name, meaning in _SHORTCUTS.items():
        pattern = pattern.replace(name, meaning)
    return pattern


def _any_word(patterns: Sequence[str]) -> str:
    """Return one alternative of all patterns, each as whole words if it begins or ends with a letter of an alphabet."""
    return "|".join(_whole(pattern) for pattern in patterns)


def _whole(pattern: str) -> str:
    is_spaced = not re.search(f"[{CJK}]", pattern)
    if not is_spaced:
        return pattern
    opening = r"\b" if pattern[0].isalpha() or pattern.startswith("(?:") else ""
    closing = r"\b" if pattern[-1].isalpha() or pattern[-1] in ")}" else ""
    return f"{opening}(?:{pattern}){closing}"


def _yes_or_no(table: Mapping[str, Mapping[str, Any]]) -> re.Pattern[str]:
    """Return the pattern that finds a yes or a no; words without spaces around them count only at the beginning."""
    groups = []
    for name in ("no", "yes"):
        words = [word for entry in table.values() for word in entry[name]]
        spaced = "|".join(word for word in words if not re.match(f"[{CJK}]", word))
        joined = "|".join(word for word in words if re.match(f"[{CJK}]", word))
        groups.append(rf"(?P<{name}>\b(?:{spaced})\b|\A\W{{0,4}}(?:{joined}))")
    return _compile(rf"(?P<negated>(?:\bnot|n['’]t|\bcannot)(?: be)? )?(?:{groups[0]}|{groups[1]})(?P<after>\W?)")


def _yes_and_no(table: Mapping[str, Mapping[str, Any]]) -> re.Pattern[str]:
    """Return the pattern that finds a yes and a no side by side."""
    yes, no, joins = (
        "|".join(pattern for entry in table.values() for pattern in entry[name]) for name in ("yes", "no", "joins")
    )
    pair = rf"(?:{yes})\W{{0,3}}(?:{joins}|[/,])\W{{0,3}}(?:{no})"
    return _compile(rf"(?<![^\W{CJK}]){pair}(?![^\W{CJK}])")
