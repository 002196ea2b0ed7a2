"""A bare answer at the head of a rationale: "Yes, because …", "B: 3 × 12 = 36"."""

from __future__ import annotations

import re

from kpodx.text.abbreviations import OPENERS
from kpodx.text.clauses import has_main_clause, has_sure_verb, has_verb
from kpodx.text.steps import step_bounds

_MARKUP = r"[\s*_\"“]{0,4}"
_WORD = r"(?:yes|no|true|false|ja|nein|sí|cierto|falso|是的|不是)"
_REASON = r"(?P<reason>because|since|as|for|denn|weil|da|porque|ya que|pues|因为|因為)"
_SEPARATOR = r"[*_\"”]{0,3}\s{0,2}(?P<mark>[,;:.!–—，：。]|-(?=\s))?[*_]{0,3}\s{0,3}"
_SHORT = (
    r"(?:[*_]{0,3},?\s(?P<short>(?:it|they|he|she|this|that|you|we|there)\s(?:does|do|did|can|could|is|are|was|were|will|would|has|have)"
    r"(?:\snot|n['’]t)?)(?=,?\s(?:because|since|as)\b|[.!]))?"
)
"""A reply without reasons: "Yes, it does"."""
_YES_NO = re.compile(
    rf"{_MARKUP}{_WORD}(?!\w){_SHORT}{_SEPARATOR}(?:(?<![.!]){_REASON}(?!\w)[\s,]{{0,3}})?", re.IGNORECASE
)
_LETTER = re.compile(
    rf"{_MARKUP}(?:(?:[Oo]ption|[Cc]hoice)\s)?(?:[(\[](?P<bracketed>[A-Ja-j])[)\]]|(?P<plain>[A-J])(?P<close>[).])?(?!\w))"
    rf"{_SEPARATOR}(?:(?i:{_REASON})(?!\w)[\s,]{{0,3}})?"
)
_FIGURE = re.compile(
    rf"{_MARKUP}[-−]?[$€£]?\d[\d,.]{{0,20}}%?{_SEPARATOR}(?P<because>because|since|denn|porque|因为)(?!\w)[\s,]{{0,3}}",
    re.IGNORECASE,
)
_LABELED = re.compile(r"(?:\A|\n)[\s*_#>•-]{0,8}(?:[Oo]ption\s)?[(\[]?[A-Ja-j][)\]:.](?!\w)")
_VERB_LAST = frozenset(("weil", "da"))
"""Words whose clause puts its verb last, so it cannot stand alone as a sentence."""
_LEAST_WORDS = 2


def without_bare_head(text: str) -> str:
    """Return `text` without the bare answer that its first sentence opens with; the sentence goes if no clause is left.

    >>> without_bare_head("Yes, because hens are birds."), without_bare_head("No, because of the rain. It is wet.")
    ('Hens are birds.', 'It is wet.')
    >>> without_bare_head("No hen can fly far."), without_bare_head("A zoo has cages.")
    ('No hen can fly far.', 'A zoo has cages.')
    """
    found = _find_head(text)
    if found is None:
        return text
    stop = step_bounds(text)[0][1]
    reason = (found.groupdict().get("reason") or found.groupdict().get("because") or "").lower()
    clause = _clause(text[found.end() : stop], reason)
    return (clause + text[stop:]).lstrip()


def _find_head(text: str) -> re.Match[str] | None:
    """Return the bare answer that `text` opens with, with the mark and the reason's conjunction behind it."""
    found = _YES_NO.match(text)
    if found is not None:
        is_head = found["reason"] or found["short"] or (found["mark"] or ".") not in ".!。"
        return found if is_head else None
    found = _LETTER.match(text)
    if found is not None:
        return found if _is_answer(text, found) else None
    return _FIGURE.match(text)


def _is_answer(text: str, found: re.Match[str]) -> bool:
    """Return whether a letter is an answer, and neither the article, a name nor the label of one part of several."""
    if len(_LABELED.findall(text)) > 1:
        return False
    is_marked = found["bracketed"] or found["close"] == ")" or found["mark"] in (":", "–", "—", "-", "：")
    following = text[found.end() : found.end() + 1]
    if found["close"] == "." or found["mark"] == ".":
        # "C. Smith" is a name.
        word = re.match(r"[^\W\d_]*", text[found.end() : found.end() + 20])
        is_marked = following.isdigit() or (word is not None and word[0] in OPENERS)
    is_clause = not following.islower() or (
        found["mark"] is not None and has_sure_verb(text[found.end() : step_bounds(text)[0][1]])
    )
    return bool(found["reason"]) or (bool(is_marked) and bool(following) and is_clause)


def _clause(rest: str, reason: str) -> str:
    """Return what follows a bare answer as a sentence, or "" if it cannot stand alone."""
    body = rest.lstrip()
    is_clause = len(body.split()) >= _LEAST_WORDS or not body[:1].isascii()
    if reason in _VERB_LAST or not is_clause or re.match(r"of\b|(?:de|por)\b", body if reason else "", re.IGNORECASE):
        return ""
    if reason in ("since", "as", "because") and has_main_clause(f"{reason} {body}"):
        return f"{reason.capitalize()} {body}"
    if not body or (not reason and not has_verb(body) and body.isascii()):
        return ""
    return body[:1].upper() + body[1:]
