"""Reading a chosen option: by its letter in any common form, or by its text."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BRACKETED = re.compile(r"[(\[{][ ]?([A-Za-z])[ ]?[)\]}]")
_LABEL = re.compile(r"([A-Za-z])[ ]?(?:[).:,;!\]](?!\w)|\Z)")
_NAMED = re.compile(r"\b(?:option|choice|answer|letter)[ ]{1,3}[(\[*]{0,3}([A-Za-z])\b(?!['’])", re.IGNORECASE)
_NAMED_CAPITAL = re.compile(r"\b(?:option|choice|answer|letter)[ ]{1,3}([A-Z])\b(?!['’])")
_CAPITAL = re.compile(r"([A-Z])(?=\s|['\"”])")
_MARKUP = re.compile(r"\*\*|__|\\(?:text|mathrm|textbf|boxed|mathbf)\s?|[`$]")
_EDGES = " \t\r\n*_\"'“”‘’`:=-"


def letter_of(index: int) -> str:
    """The letter of option `index`, counted from 0."""
    return chr(ord("A") + index)


def read_choice(answer: str, choices: Sequence[str]) -> str | None:
    """The letter that a stated answer ("(c) wooded area", "B", "option D", "the wooded area") chooses.

    A letter goes before the text beside it. None where nothing is chosen, two options are, or the letter names none.

    Args:
        answer: what follows an answer marker, one sentence.
        choices: the texts of the options A, B, …; empty where only letters are known.

    >>> read_choice("(c) wooded area.", ["sea", "pond", "wooded area"]), read_choice("a pond", ["sea", "pond"])
    ('C', 'B')
    """
    answer = _MARKUP.sub("", answer).strip(_EDGES)
    whole = _exact(answer, choices)
    if whole is not None:
        return whole
    bracketed = [letter.upper() for letter in _BRACKETED.findall(answer)]
    if bracketed:
        return _known(bracketed[0], choices) if len(set(bracketed)) == 1 else None
    for pattern, reader in ((_LABEL, _LABEL.match), (_NAMED, _NAMED.search)):
        found = reader(answer)
        if found and (pattern is _LABEL or found[1].isupper() or found.end() == len(answer.rstrip(" .!"))):
            return _known(found[1].upper(), choices)
    capital = _CAPITAL.match(answer)
    if capital and _is_letter(capital[1], answer[2:], choices):
        return _known(capital[1], choices)
    return longest_choice(answer, choices)


def names_choice(text: str, choices: Sequence[str]) -> bool:
    """Whether `text` names any option, by a bracketed letter or by its text."""
    return bool(_BRACKETED.search(text)) or any(_occurrences(text, choice) for choice in choices)


def last_choice(text: str, choices: Sequence[str]) -> str | None:
    """The option that a text without an answer marker names last: by a letter or "option B", else by its text."""
    letters = [match for pattern in (_BRACKETED, _NAMED_CAPITAL) for match in pattern.finditer(text)]
    known = [match for match in letters if _known(match[1].upper(), choices)]
    if known:
        return max(known, key=lambda match: match.start())[1].upper()
    best = max(
        (
            (ends[-1], len(choice), -index)
            for index, choice in enumerate(choices)
            if (ends := _occurrences(text, choice))
        ),
        default=None,
    )
    return None if best is None else letter_of(-best[2])


def longest_choice(text: str, choices: Sequence[str]) -> str | None:
    """The option with the longest text that `text` holds as whole words; None where it holds none, or two unrelated."""
    found = [index for index, choice in enumerate(choices) if _occurrences(text, choice)]
    if not found:
        return None
    best = max(found, key=lambda index: (len(choices[index]), -index))
    whole = choices[best].casefold()
    return letter_of(best) if all(choices[index].casefold() in whole for index in found) else None


def _exact(answer: str, choices: Sequence[str]) -> str | None:
    """The letter of the option whose text is `answer`, apart from case and closing punctuation."""
    plain = answer.casefold().rstrip(" .!,")
    if len(plain) == 1 and answer[:1].isupper():
        return None
    matches = [index for index, choice in enumerate(choices) if choice.casefold().strip(" .!,") == plain and plain]
    return letter_of(matches[0]) if matches else None


def _known(letter: str, choices: Sequence[str]) -> str | None:
    return letter if not choices or ord(letter) - ord("A") < len(choices) else None


def _is_letter(capital: str, rest: str, choices: Sequence[str]) -> bool:
    """Whether a capital before a space is an option's letter; "A" and "I" are only before that option's text."""
    index = ord(capital) - ord("A")
    text = choices[index].casefold() if index < len(choices) else ""
    return capital not in "AI" or (bool(text) and rest.strip(_EDGES).casefold().startswith(text))


def _occurrences(text: str, choice: str) -> list[int]:
    """Where `choice` ends in `text` as whole words, whatever the case."""
    text, choice = text.casefold(), choice.casefold().strip(" .")
    ends: list[int] = []
    at = text.find(choice) if choice else -1
    while at >= 0:
        stop = at + len(choice)
        if not (text[at - 1 : at].isalnum() or text[stop : stop + 1].isalnum()):
            ends.append(stop)
        at = text.find(choice, stop)
    return ends
