"""Reading a chosen option: by its letter in any common form, by its number, or by its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from kpodx.text.cues import CJK, FULL_WIDTH, load_cues
from kpodx.text.lexemes import plain_text
from kpodx.text.number_answers import number_after_marker
from kpodx.text.numbers import find_quantities

# A bracket behind a letter or a sign belongs to a formula: "P(R)", "k_{B}T".
_BRACKETED = re.compile(r"(?<![\w^\\)\]])[(\[{][ ]?([A-Za-z])[ ]?[)\]}]")
_NAMED = re.compile(r"\b(?:option|choice|answer|letter)[ ]{0,3}[(\[*]{0,3}([A-Za-z])\b(?!['’])", re.IGNORECASE)
_NAMED_CAPITAL = re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter)[ ]{1,3}([A-Z])\b(?!['’])")
_LEADING = re.compile(
    r"(?:(?:the|option|choice|answer|letter)[ ]{1,3}){0,3}(?:[(\[{][ ]?(?P<bracketed>[A-Za-z])[ ]?[)\]}]"
    r"|(?P<label>[A-Za-z])[ ]?(?:[).:,;!\]/&<>’](?!\w)|[,/&](?=[A-Z])|\Z)|(?P<capital>[A-Z])(?=[\s'\"”。，；、（(–—-]|[,.:;)]?["
    + CJK
    + "]))"
)
_REASON = re.compile(
    r"\s{0,3}(?:because|since|as|for|is|and|or|und|oder|y|o|which|[–—-]|[(。，；、（]|或|和)", re.IGNORECASE
)
_VERBS = r"(?:is|are|was|were|would|can|could|does|do|has|isn|cannot|refers|seems|means|must|may|might)\b"
# What makes a leading letter one of several: "A, B, or D", "B/C", "(a) sea or (c) zoo".
_OTHER_BARE = re.compile(
    r"[)\]}.\"'*]{0,3}\s{0,3}\(?(?:,?\s{0,3}(?:or|and|nor|und|oder|y|o)\s{1,3}|[,/&、]\s{0,3}|[或和与]\s{0,3})"
    r"(?:(?:option|choice|letter)\s)?[(\[]?(?P<letter>[A-Z])[)\]]?"
    r"(?=[\s.]{0,3}\Z|\s{0,2}[,/&、;!.)]|\s{1,3}(?:or|and|und|oder|y|o|because|since|as|both)\b|[或和])",
)
_OTHER_BRACKETED = re.compile(
    rf"(?:\b(?:or|and|nor|und|oder)|[,/&或和])\s{{0,3}}(?:(?:option|choice)\s)?[(\[]\s?(?P<letter>[A-Za-z])\s?[)\]](?!\s{{0,3}}{_VERBS})"
)
_SEVERAL = re.compile(r"(?:either|both|neither|entweder|ambas|tanto)\b", re.IGNORECASE)
# "I think it is B." at the end of a text.
_SAID = re.compile(r"(?:\bis|\bbe|['’]s|:)[ ]{1,2}([A-HJ-Z])[.!)]?\s{0,4}\Z")
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|textit|boxed|fbox|mathbf|mathsf|bf|rm)\s?\{([^{}]{0,200})\}")
_MARKUP = re.compile(r"\*\*|__|\\[()\[\]]|\\(?:text|mathrm|textbf|boxed|mathbf)\s?|[`$]")
_SPACES = re.compile(r"\\[ ,;:!]|~")
_EDGES = " \t\r\n*_\"'“”‘’`:=<>#。，"
_DISMISSED = re.compile(
    r"[)\]}\"'*]{0,3}(?:\s\w{1,15}){0,2}\s{1,2}(?:(?:is|are|was|were|can|could|does|do)(?:\s\w{1,12})?\s(?:not|wrong|incorrect|false|out)\b"
    r"|(?:is|are|was|were|does|do)n['’]?t|cannot|can['’]t)",
    re.IGNORECASE,
)
_NOT_BEFORE = re.compile(r"(?:\b(?:not|nor|neither|never)|n['’]t)\s{1,2}\Z", re.IGNORECASE)
_CONTEXT = 60
_SIDE_CLAUSE = re.compile(r"[,;]?\s(?:since|because|as|whereas|while|rather than|instead of|not)\s", re.IGNORECASE)


@dataclass(frozen=True)
class ChoiceReading:
    """The option that a text without an announcement ends up with, and whether its last sentence leaves no doubt."""

    letter: str | None
    is_clear: bool = False


def letter_of(index: int) -> str:
    """Return the letter of option `index`, counted from 0."""
    return chr(ord("A") + index)


def read_choice(answer: str, choices: Sequence[str]) -> str | None:
    """Return the letter that a stated answer ("(c) wooded area", "B", "option D", "the wooded area") chooses.

    A letter at the beginning counts more than any later one, and a letter more than the text after it. None if nothing is
    chosen, if several options are, or if the letter names none.

    Args:
        answer: what follows an announcement, one sentence.
        choices: the texts of the options A, B, …; empty if only letters are known.

    >>> read_choice("(c) wooded area.", ["sea", "pond", "wooded area"]), read_choice("a pond", ["sea", "pond"])
    ('C', 'B')
    >>> read_choice("B. Option (A) is wrong", ["sea", "pond"]), read_choice("A, B, or D", [])
    ('B', None)
    """
    answer = _plain(answer)
    whole = _exact(answer, choices)
    if whole is not None:
        return whole
    hedge = load_cues().hedge.match(answer)
    answer = answer[hedge.end() :].strip(_EDGES) if hedge else answer
    leading = _leading_letter(answer, choices)
    if leading is not None:
        letter, stop = leading
        if _DISMISSED.match(answer, stop):
            remaining = {match[1].upper() for match in _letters(answer, choices)}
            return remaining.pop() if len(remaining) == 1 else None
        return None if _has_others(answer[stop:], letter) else _known(letter, choices)
    inner = _inner_letter(answer, choices)
    if inner is not None:
        return None if _SEVERAL.match(answer) else inner or None
    return _numeric_choice(answer, choices) if _are_numeric(choices) else longest_choice(answer, choices)


def _plain(text: str) -> str:
    """Return `text` without markup, LaTeX commands for text, and quotes around it; signs of numbers stay."""
    text = text.translate(FULL_WIDTH)
    text = _SPACES.sub(" ", _TEXT_COMMAND.sub(r"\1", _TEXT_COMMAND.sub(r"\1", text)))
    return _MARKUP.sub("", text).strip(_EDGES)


def _leading_letter(answer: str, choices: Sequence[str]) -> tuple[str, int] | None:
    """Return the letter that `answer` begins with and where it ends, None if it begins with no option's letter."""
    found = _LEADING.match(answer)
    if found is None:
        return None
    letter = found["bracketed"] or found["label"] or found["capital"]
    stop = found.end(found.lastgroup or 0)
    if found["capital"] and not _is_letter(letter, answer[stop:], choices):
        return None
    if found["label"] and letter.islower() and answer[stop : stop + 1] in (",", "/", "&"):
        return None
    return letter.upper(), stop


def _has_others(rest: str, letter: str) -> bool:
    """Return whether another option is named beside `letter`, given what follows it."""
    rest = _SIDE_CLAUSE.split(rest[:400], maxsplit=1)[0]
    bare = _OTHER_BARE.match(rest)
    others = [bare] if bare else []
    others += _OTHER_BRACKETED.finditer(rest)
    return any(other["letter"].upper() != letter for other in others)


def _inner_letter(answer: str, choices: Sequence[str]) -> str | None:
    """Return the letter inside `answer`, "" if it names several or an unknown one, None if it names none."""
    bracketed = {letter.upper() for letter in _BRACKETED.findall(answer)}
    if bracketed:
        return (_known(bracketed.pop(), choices) or "") if len(bracketed) == 1 else ""
    found = _NAMED.search(answer)
    if found and (found[1].isupper() or found.end() == len(answer.rstrip(" .!"))):
        letter = found[1].upper()
        return "" if _has_others(answer[found.end() :], letter) else (_known(letter, choices) or "")
    return None


def _are_numeric(choices: Sequence[str]) -> bool:
    return bool(choices) and all(_number_of(choice) is not None for choice in choices)


def _number_of(choice: str) -> Fraction | None:
    """Return the number that an option is, unit included; None if it is not one number."""
    quantities = find_quantities(plain_text(choice).strip(), after_marker=True)
    is_short = len(re.findall(r"[^\W\d_]{2,}", choice)) <= 2
    return quantities[0].value if len(quantities) == 1 and is_short else None


def _numeric_choice(answer: str, choices: Sequence[str]) -> str | None:
    """Return the letter of the only option whose number `answer` gives."""
    reading = number_after_marker(answer)
    if reading.value is None:
        return None
    matches = [index for index, choice in enumerate(choices) if _number_of(choice) == reading.value]
    is_same_text = len({choices[index].casefold() for index in matches}) == 1
    return letter_of(matches[0]) if len(matches) == 1 or is_same_text else longest_choice(answer, choices)


def names_choice(text: str, choices: Sequence[str]) -> bool:
    """Return whether `text` names any option, by its letter or by its text."""
    plain = _plain(text)
    if _BRACKETED.search(plain) or _NAMED_CAPITAL.search(plain) or _leading_letter(plain, choices):
        return True
    return any(_occurrences(plain, choice) for choice in choices)


def is_option_alone(text: str, choices: Sequence[str]) -> bool:
    """Return whether `text` is nothing but an option: its letter, its text, or both.

    >>> is_option_alone("B. body of water", ["zoo", "body of water"]), is_option_alone("Ist (B) falsch?", ["zoo", "sea"])
    (True, False)
    """
    plain = _plain(text)
    leading = _leading_letter(plain, choices)
    rest = plain[leading[1] :].strip(_EDGES + ").]}") if leading else plain
    return (leading is not None and not rest) or _exact(rest, choices) is not None


def concluding_choice(text: str, sentences: Sequence[str], choices: Sequence[str]) -> ChoiceReading:
    """Return the option that a text without an announcement ends up with.

    Args:
        text: the text.
        sentences: the same text in sentences.
        choices: the texts of the options A, B, …
    """
    last = next((sentence for sentence in reversed(sentences) if any(map(str.isalnum, sentence))), "")
    main_clause = _SIDE_CLAUSE.split(last, maxsplit=1)[0]
    named = {match[1].upper() for match in _letters(main_clause, choices)}
    if len(named) == 1:
        return ChoiceReading(named.pop(), is_clear=True)
    opening = load_cues().conclusion.match(last)
    rest = last[opening.end() :] if opening else last
    whole = None if named or _BRACKETED.search(last) else read_choice(rest, choices)
    if whole is not None and (opening or is_option_alone(text, choices)):
        return ChoiceReading(whole, is_clear=True)
    mentions = (last_choice(sentence, choices) for sentence in reversed(sentences))
    return ChoiceReading(next((letter for letter in mentions if letter is not None), None))


def last_choice(text: str, choices: Sequence[str]) -> str | None:
    """Return the option that a text names last: by a letter or "option B", else by its text."""
    letters = _letters(text, choices)
    if letters:
        return max(letters, key=lambda match: match.start())[1].upper()
    best = max(
        (
            (ends[-1], len(choice), -index)
            for index, choice in enumerate(choices)
            if (ends := _occurrences(text, choice))
        ),
        default=None,
    )
    return None if best is None else letter_of(-best[2])


def _letters(text: str, choices: Sequence[str]) -> list[re.Match[str]]:
    """Return where `text` names options by their letters, except to dismiss them ("(A) is wrong", "not (A)")."""
    letters = [match for pattern in (_BRACKETED, _NAMED_CAPITAL, _SAID) for match in pattern.finditer(text)]
    return [
        match
        for match in letters
        if _known(match[1].upper(), choices)
        and not _DISMISSED.match(text, match.end(), match.end() + _CONTEXT)
        and not _NOT_BEFORE.search(text, max(0, match.start() - _CONTEXT), match.start())
    ]


def longest_choice(text: str, choices: Sequence[str]) -> str | None:
    """Return the option with the longest text that `text` holds as whole words; None if it holds none, or two unrelated."""
    found = [index for index, choice in enumerate(choices) if _occurrences(text, choice)]
    if not found:
        return None
    best = max(found, key=lambda index: (len(choices[index]), -index))
    whole = choices[best].casefold()
    return letter_of(best) if all(choices[index].casefold() in whole for index in found) else None


def _exact(answer: str, choices: Sequence[str]) -> str | None:
    """Return the letter of the option whose text is `answer`, apart from case, markup and closing punctuation."""
    plain = answer.casefold().rstrip(" .!,")
    if len(plain) == 1 and answer[:1].isupper():
        return None
    matches = [
        index for index, choice in enumerate(choices) if _plain(choice).casefold().strip(" .!,") == plain and plain
    ]
    return letter_of(matches[0]) if matches else None


def _known(letter: str, choices: Sequence[str]) -> str | None:
    return letter if not choices or ord(letter) - ord("A") < len(choices) else None


def _is_letter(capital: str, rest: str, choices: Sequence[str]) -> bool:
    """Return whether a capital before a space is an option's letter; "A" and "I" need that option's text or a reason after them."""
    if capital not in "AI" or _REASON.match(rest):
        return True
    index = ord(capital) - ord("A")
    text = choices[index].casefold() if index < len(choices) else ""
    return bool(text) and rest.strip(_EDGES).casefold().startswith(text)


def _occurrences(text: str, choice: str) -> list[int]:
    """Return where `choice` ends in `text` as whole words or a whole number, whatever the case."""
    text, choice = text.casefold(), choice.casefold().strip(" .")
    ends: list[int] = []
    at = text.find(choice) if choice else -1
    while at >= 0:
        stop = at + len(choice)
        if not (text[at - 1 : at].isalnum() or text[stop : stop + 1].isalnum() or _is_part_of_number(text, at, stop)):
            ends.append(stop)
        at = text.find(choice, stop)
    return ends


def _is_part_of_number(text: str, start: int, stop: int) -> bool:
    """Return whether the figure at [start, stop) goes on outside: its sign, a decimal, or a group of digits."""
    if text[start].isdigit() and (
        text[max(0, start - 1) : start] in ("-", "−") or re.fullmatch(r"\d[.,]", text[max(0, start - 2) : start])
    ):
        return True
    return text[stop - 1].isdigit() and re.match(r"[.,]\d", text[stop : stop + 2]) is not None
