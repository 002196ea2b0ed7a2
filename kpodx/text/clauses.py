"""Keeping the part of a sentence that can stand alone when its answer announcement is cut out."""

from __future__ import annotations

import re

from kpodx.text.completeness import why_torn

_WORDS = r"so|thus|therefore|hence|then|now|finally|consequently|accordingly|and|but|overall|ultimately"
_LEAD = re.compile(
    rf"[\s>*_#]{{0,8}}(?:[-•+]\s{{1,3}}|\d{{1,2}}[.)]\s{{1,3}})?[*_]{{0,3}}(?:step\s\d{{1,2}}\s?[:.)-][*_]{{0,3}}\s{{0,3}})?"
    rf"(?:(?:{_WORDS})\b[,:*_]{{0,3}}\s{{1,3}}){{0,3}}",
    re.IGNORECASE,
)
"""What may open a sentence and makes no clause: bullets, numbers, concluding words."""
_LINK = re.compile(
    r"(?:\b(?:so|thus|therefore|hence|then|and|but|(?:so|\w{2,20}ing|(?:we|which|this|that|it|I|you) (?:can )?\w{2,12}) that"
    r"|i\.e\.?|namely|meaning|giving|making|telling|showing|we know"
    r"|which (?:means|makes|gives|shows|implies|tells|leads|is why)(?: us)?|(?:this|that|it) (?:means|makes|gives|shows|implies|tells us)"
    r"|we (?:conclude|can conclude|can say|can see|see|find|get)|it follows|making it|is why|to)"
    r"|\\(?:text|quad|Rightarrow|implies|therefore)\{?|=>|⇒|→|->)\Z",
    re.IGNORECASE,
)
"""Words that lead over to the announcement, at the end of what precedes it."""
_BREAK = re.compile(r"[;,]\s|\s[–—]\s|—|\b(?:so|which|and|thus|therefore|hence)\b", re.IGNORECASE)
_REASON = re.compile(
    r"(?:since|because|as(?!\s(?:an?\s)?(?:additional\s|direct\s|final\s|natural\s|logical\s)?(?:result|consequence|conclusion|summary|check"
    r"|reminder|matter|rule|whole|total|sum|fraction|percent\w*|decimal|number|per|of|to|for|such|before|above|below|always)\b"
    r"|\s(?:the|our|my|these|this)\s(?:\w{1,15}\s){0,4}(?:shows?|suggests?|indicates?|demonstrates?|asks?|requires?|wants?)\b)"
    r"|given that|seeing that)\b,?\s{1,3}",
    re.IGNORECASE,
)
_PHRASE = re.compile(
    r"(?:among|amongst|of|from|out of|between|based|according|in|on|at|for|with|by|to|after|if|when|while|until|looking|considering"
    r"|given|however|once|whether|that|this means|it means|rounded|expressed|converted|simplified|stated|put|written"
    r"|which|what|where|as|thanks|due|owing|per|all|simply|plainly|long story|bottom line|taken together"
    r"|in conclusion|in summary|to summarize|for this reason|we|i|it|this|that|these|[a-z]{2,14}ing)\b",
    re.IGNORECASE,
)
"""Openings of phrases that make a clause only together with what follows a comma, or with more than a few words."""
_SUBJECTS = frozenset(("we", "i", "it", "this", "these"))
_RELATION = r"[=≈≤≥<>]|\\(?:approx|leq?|geq?)(?![a-z])"
_COMMON_VERBS = (
    r"is|are|was|were|am|be|been|has|have|had|does|do|did|can|could|will|would|may|might|must|should|cannot|gives?|gave|makes?|made"
    r"|means?|meant|gets?|got|needs?|costs?|sells?|sold|buys?|bought|spends?|spent|pays?|paid|takes?|took|goes|went|eats?|ate|keeps?"
    r"|kept|leaves?|left|lives?|yields?|results?\sin|shows?|won|lost|ran|read|put|cut|earns?|wants?|\w{1,20}n't|it's|that's|there's|he's"
    r"|she's|[Ww]e're|they're"
)
_SURE_VERB = re.compile(rf"{_RELATION}|(?<!\\)\b(?:{_COMMON_VERBS})\b")
_VERB = re.compile(rf"{_RELATION}|(?<!\\)\b(?:{_COMMON_VERBS}|\w{{2,20}}(?:ed|es|ts|ns|ls|ys|ks|ps|ds|rs|ms|ws|gs))\b")
"""A verb by its ending, too; plural nouns have the same endings."""
_EQUATION = re.compile(
    r"[^\n=]{0,200}\d[^\n=]{0,60}(?:[-+*/×÷·−–]|\\(?:times|cdot|div|frac))[^\n=]{0,200}=[^\n]{0,40}\d"
)
_VARIABLE = re.compile(r"[a-z]\s?[-=+*/^<>≈(]")
_VALUE_BEFORE = re.compile(r"\A[-−]?[$€£]?\d[\d,.]{0,20}%?[*_]{0,2}\s?[:;–—]\s(?=[^\n=]{0,80}=)")
"""The value before the equation that explains it: "72: 48 + 24 = 72"."""
_BECAUSE = re.compile(r"\b(?:because|since)\b", re.IGNORECASE)
_CLOSED = re.compile(r"(?P<mark>[.!?。！？])[\"'”’»)\]}*_$]{0,6}\s*\Z")


_DANGLING_REASON = re.compile(
    r",?\s{1,3}(?:and|but|so)\s{1,3}(?:because|since|when|if|once|after|as)\b[^.!?=]{0,200}\Z", re.IGNORECASE
)

_LABEL = re.compile(r"[\s>*_#-]{0,8}[(\[]?(?:\d{1,2}|[A-Za-z]|[ivx]{1,4})[.)\]]{1,2}[\s*_]{0,6}")
"""The label of a list item, without the item."""


def keep_before(sentence: str, start: int, *, is_linked: bool) -> str:
    """Return the clause that precedes the announcement at `start` of `sentence`, closed; "" if it cannot stand alone.

    Args:
        sentence: the whole sentence, with its spaces.
        start: where the announcement begins.
        is_linked: whether the announcement itself opens with a conjunction.

    >>> keep_before("3 + 5 = 8, so the answer is 8.", 11, is_linked=True)
    '3 + 5 = 8.'
    >>> keep_before("Therefore, among A through E, the answer is E.", 30, is_linked=False)
    ''
    """
    head = sentence[:start]
    if _CLOSED.search(head):
        # The announcement is a sentence of its own; step splitting took "exit C." for an initial. A list label alone is not a sentence.
        is_label = not any(map(str.isalnum, head[lead_stop(head) :])) or _LABEL.fullmatch(head) is not None
        return "" if is_label or why_torn(head) else head.strip()
    trimmed = _without_link(head)
    if trimmed.lower().endswith(" that") or (not is_linked and trimmed == head.rstrip()):
        trimmed = _up_to_break(trimmed)
    # "We have 36, and because 4 broke, [the answer is 32]": the reason belongs to what is cut.
    trimmed = _DANGLING_REASON.sub("", trimmed)
    mark = "." if _CLOSED.search(sentence) else ""
    return _as_sentence(trimmed, mark)


def keep_reason(sentence: str, start: int) -> str:
    """Return the reason that follows the announcement at `start` of `sentence` as a sentence; "" if none does.

    >>> keep_reason("The answer is (b) zoo because a zoo has cages.", 14)
    'A zoo has cages.'
    """
    found = re.search(r"[\s,]{1,3}(?:because|since)\s{1,3}(?=[\w$\\(*])", sentence[start : start + 400])
    if found is None:
        return ""
    return _as_sentence(sentence[start + found.end() :].rstrip(), "")


def keep_equation(sentence: str, start: int) -> str:
    """Return the equation that is the announced answer at `start` of `sentence`: it is a step of reasoning; "" if none is.

    >>> keep_equation("The answer is 3 + 5 = 8.", 14), keep_equation("The answer is 8.", 14)
    ('3 + 5 = 8.', '')
    """
    value = _VALUE_BEFORE.sub("", sentence[start:].strip().lstrip(":*_ "), count=1).strip()
    found = _EQUATION.match(value)
    # In "6 pieces, or 6 * 2.5 = 15 ounces" the equation restates an answer.
    if found is None or ", " in value[: value.index("=")] or _BECAUSE.search(value, 0, value.index("=")):
        return ""
    return "" if why_torn(value) else value


def has_clause(text: str) -> bool:
    """Return whether `text` can stand as a clause: it has a verb or a relation sign, and is no mere phrase.

    >>> has_clause("Therefore, among A through E"), has_clause("8 + 5 = 13"), has_clause("A zoo has cages")
    (False, True, True)
    """
    clause = text[lead_stop(text) :].strip()
    phrase = _PHRASE.match(clause)
    if phrase and phrase[0].lower() in _SUBJECTS:
        # "This means", "We know": a subject and a verb alone.
        return len(clause.split()) > 3 and _VERB.search(clause) is not None
    if phrase and phrase[0].lower().endswith("ing") and _SURE_VERB.search(clause):
        # "Adding them gives 8".
        return True
    if phrase and phrase[0].lower() in ("in", "for", "after", "all") and _EQUATION.search(clause):
        # "In total she sold 48 + 24 = 72 clips".
        return True
    if phrase:
        clause = clause.partition(",")[2]
    return len(clause.split()) > 1 and _VERB.search(clause) is not None


def has_equation(text: str) -> bool:
    """Return whether `text` holds a sum with its result."""
    return _EQUATION.search(text) is not None


def has_verb(text: str) -> bool:
    """Return whether `text` holds a verb or a relation sign."""
    return _VERB.search(text) is not None


def has_sure_verb(text: str) -> bool:
    """Return whether `text` holds one of the commonest verbs, or a relation sign."""
    return _SURE_VERB.search(text) is not None


def has_main_clause(sentence: str) -> bool:
    """Return whether a main clause follows the subordinate one that `sentence` opens with."""
    return any(not re.match(r"(?:and|or|but|nor)\b", part) and has_clause(part) for part in sentence.split(", ")[1:])


def lead_stop(text: str) -> int:
    """Return where the words that open a sentence and make no clause ("So", "2. ", "Step 3:") stop."""
    match = _LEAD.match(text)
    assert match is not None
    return match.end()


def _without_link(head: str) -> str:
    """Return `head` without the commas, opened marks and connecting words at its end."""
    while True:
        before = head
        head = head.rstrip(" \t\n,;:-–—([“")
        for mark in ("**", "$", "\\(", "\\[", '"', "_", "*"):
            if head.endswith(mark) and ((len(mark) > 1 and mark[0] == "\\") or head.count(mark) % 2):
                head = head[: -len(mark)]
        link = _LINK.search(head[-40:])
        if link is not None:
            head = head[: len(head) - len(link[0])]
        if head == before:
            return head


def _up_to_break(head: str) -> str:
    """Return `head` up to its last comma or conjunction, "" if it has none."""
    breaks = [match.start() for match in _BREAK.finditer(head)]
    return _without_link(head[: breaks[-1]]) if breaks else ""


def _as_sentence(clause: str, mark: str) -> str:
    """Return `clause` closed by `mark`, without a subordinating word before it; "" if it is no whole clause."""
    body = clause[lead_stop(clause) :]
    reason = _REASON.match(body)
    if reason and not has_main_clause(body):
        clause = body = body[reason.end() :]
    elif reason:
        return _closed(clause.strip(), mark) if why_torn(clause) is None else ""
    if not body.strip() or not has_clause(clause):
        return ""
    clause = _closed(_capitalized(clause), mark)
    return "" if why_torn(clause) else clause


def _capitalized(clause: str) -> str:
    stripped = clause.lstrip()
    if _VARIABLE.match(stripped):
        return stripped
    return stripped[:1].upper() + stripped[1:]


def _closed(clause: str, mark: str) -> str:
    """Return `clause` with its emphasis and brackets closed, ended by `mark`."""
    closing = ")" if clause.count("(") > clause.count(")") else ""
    closing += "**" if clause.count("**") % 2 else ""
    end = "" if clause.endswith((".", "!", "?", "。", "\\]", "$$")) else mark
    return clause + closing + end
