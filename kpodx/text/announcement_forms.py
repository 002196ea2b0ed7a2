"""Forms in which an English sentence announces an answer without "the answer is": "ANS: D", "Hence option C is correct."

All patterns work on one sentence whose Markdown marks are replaced by spaces, and all gaps are bounded.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kpodx.text.boxes import has_box, unbox
from kpodx.text.clauses import has_sure_verb, lead_stop

_BLANK = str.maketrans(dict.fromkeys('*_`#>"“”✅➡👉', " "))
# "I think" opens a sentence.
_LETTER = r"(?:[(\[]\s?[A-Za-z]\s?[)\]]|(?:[A-HJ]|I(?!\s[a-z]))(?![\w'’])[).]?)"
_NUMBER = r"(?:[-−]?\s?[$€£¥]?\s?\d[\d,./]{0,20}\s?[%°]?)"
_VALUE = rf"(?:{_LETTER}|{_NUMBER}|(?i:yes|no|true|false)\b)"
_NOUN = r"(?:ans(?:wer)?|choice|option|response|solution|final\s(?:result|value))"
_KIND = (
    r"(?:(?:final|correct|right|best|proper|selected|chosen|required|desired|overall|only|most\s\w{3,12}|likeliest|numerical)"
    r"\s{1,3}){0,3}"
)
_LINK = r"(?:(?:so|thus|hence|therefore|then|and|consequently|accordingly)\b[,:]?\s{1,3}){0,3}"
_BE = (
    r"(?:is|are|was|must\sbe|has\sto\sbe|would\sbe|should\sbe|will\sbe|can\sonly\sbe|seems\sto\sbe|seems"
    r"|appears\sto\sbe)"
)
_IS = _BE.replace("is|are|was", "is|was")
"""One option is the answer; what several options are ("A and C are correct places") is reasoning."""
_SURELY = r"(?:(?:therefore|thus|hence|clearly|definitely|likely|most\slikely|probably|indeed|obviously|simply|also)\s{1,3}){0,2}"
_RIGHT = (
    r"(?:(?:the|a|our|my)\s{1,3})?(?:(?:most|very|single)\s{1,3}){0,2}"
    rf"(?:correct|right|best|true|accurate|appropriate|suitable|likely|logical|reasonable|answer|correct\s{_NOUN})\b"
    r"(?!\s(?:only|if|when|for|about|that|to|in|as)\b)"
)
_THE = r"(?:(?:the|my|our)\s{1,3})?"
_NAME = r"(?i:(?:the|option|choice|answer|letter)\s){0,2}"
_BEGIN, _END = r"\A\s{0,8}", r"[\s.!)]{0,6}\Z"
_ASIDE = r"(?i:\s{1,3}(?:to|for|in|here|rounded)[^.!?\n]{0,50}?|,[^.!?\n]{1,50},|\s?\([^()\n]{1,40}\))?"
_NO_MORE = r"(?!\s{0,2}(?i:apples? more|more|less|times|added|divided)\b)"

_WHOLE_SENTENCES = (
    # "Answer D", "ANS: D", "Choice B.", "Correct answer - A"
    rf"(?i:{_LINK}{_THE}{_KIND}{_NOUN})\s{{0,3}}[-–—:=.]{{0,2}}\s{{0,3}}{_VALUE}{_END}",
    # "Ans. 18 apples"
    rf"(?i:{_LINK}{_THE}{_KIND}(?:ans|answer))\s{{0,3}}[-–—:=.]{{1,2}}\s{{0,3}}\S",
    # "Answer 18 apples", "Answer (B) zoo"
    rf"(?i:{_LINK}{_THE}{_KIND}(?:ans|answer))\s{{1,3}}{_VALUE}[):.]?\s{{1,3}}(?:[\w$'-]{{1,20}}\s?){{1,4}}{_END}",
    # "Correct: B"
    rf"(?i:correct|final)\s{{0,3}}[-–—:=]\s{{0,3}}{_VALUE}{_END}",
    # "Select D."
    rf"(?i:{_LINK}(?:choose|pick|select|mark|tick|go\swith))\s{{1,3}}{_NAME}{_LETTER}{_END}",
    # "<answer>B</answer>"
    r"</?(?i:final[_ ]?)?(?i:answer)\b",
    # a row of a table
    rf"\|\s{{0,8}}(?i:{_KIND}answer)\s{{0,8}}\|",
)
"""Announcements that fill a sentence."""
_CLAUSES = (
    # "the solution is 18", "the correct letter must be (B)", "the final answer, rounded to cents, is 18"
    rf"\b(?i:{_LINK}(?:the|our|my|your)\s{{1,3}}{_KIND}(?:answer|letter|option|choice|response|solution|final\sresult)){_ASIDE}\s{{1,3}}"
    rf"(?i:{_BE}\s{{1,3}}{_SURELY}(?:(?:option|choice|letter|answer|equal\sto|approximately|about|exactly)\s)?){_VALUE}{_NO_MORE}",
    # "Hence option C is correct"
    rf"(?:\A|(?<=[\s,;]))(?i:{_LINK}(?:the\s{{1,3}})?(?:option|choice|answer|letter)\s{{1,3}})(?:{_LETTER}|[A-J]\b)"
    rf"[^.!?\n]{{0,60}}?(?i:\s{_IS}\s{{1,3}}{_SURELY}{_RIGHT})",
    # "(B) zoo is the most likely", "B is right"
    rf"(?:{_BEGIN}|(?<![A-J],\s)(?<![A-J]\),\s)(?<=[,;]\s)|\b(?i:so|thus|hence|therefore)[,:]?\s{{1,3}})"
    rf"(?:[(\[]\s?[A-Za-z]\s?[)\]][^.!?\n]{{0,60}}?|[A-J][).]?)(?i:\s{{1,3}}{_IS}\s{{1,3}}{_SURELY}{_RIGHT})",
    # "I choose B", "we go with option (C)"
    rf"\b(?i:{_LINK}(?:I|we)(?:['’]d|['’]ll|\swould|\swill|\smust|\sshould|\scan|\stherefore)?\s{{1,3}}"
    rf"(?:choose|pick|select|go\swith|answer|mark))\s{{1,3}}{_NAME}{_LETTER}",
    # "So it must be B."
    rf"\b(?i:{_LINK}(?:it|that|this)(?:['’]s|\s{_BE})\s{{1,3}}{_SURELY}){_NAME}{_LETTER}{_END}",
    # "Therefore, B.", "so option (C)."
    rf"(?:{_BEGIN}|(?<=[,;]\s)|(?<=[,;]\s\s))(?i:so|thus|hence|therefore|consequently)\b[,:]?\s{{1,3}}{_NAME}{_LETTER}"
    rf"(?:\s{{1,3}}[\w'-]{{1,20}}){{0,4}}{_END}",
    # "This makes B the correct answer", "which leaves (C) as the only choice"
    rf"\b(?i:(?:which|this|that)\s(?:makes?|leaves?)|making|leaving)\s{{1,3}}(?i:(?:option|choice|only)\s)?{_LETTER}"
    rf"(?:\s{{1,3}}[\w'-]{{1,20}}){{0,3}}?\s{{1,3}}(?i:as\s)?(?i:the|our)\s{{1,3}}{_KIND}{_NOUN}\b",
    # "9 * 2 = 18, which is the answer."
    rf"(?i:\b(?:and\s)?(?:which|that|this)(?:['’]s|\sis)\s{{1,3}}(?:the\s\w{{1,15}},?\sand\s)?(?:the|our|my)\s{{1,3}}{_KIND}answer"
    rf"(?:\s(?:to|for|we|that\swe|you)\s[a-z ]{{2,30}})?){_END}",
    # "9 * 2 = 18, the final answer."
    rf"(?<=\d),\s(?i:(?:the|our|my)\s{{1,3}}{_KIND}answer){_END}",
    rf"(?<=\d)\s\((?i:(?:the|our|my)\s{{1,3}}{_KIND}answer)\){_END}",
)
"""Announcements that fill a clause, from its beginning."""
_PREDICATES = (
    # "So (B) is the answer", "18 is the final answer", "a zoo is the correct answer"
    rf"(?i:\b{_BE}\s{{1,3}}{_SURELY}(?:the|our|my|your)\s{{1,3}}{_KIND}answer\b)",
    rf"(?i:\b{_BE}\s{{1,3}}{_SURELY}(?:the|our|my|your)\s{{1,3}}(?:correct|right)\s{{1,3}}(?:option|choice|response|solution)\b)",
)
"""Verbs of announcements whose subject, the answer, precedes them."""
_WHOLE = tuple(re.compile(_BEGIN + pattern) for pattern in _WHOLE_SENTENCES)
_OPENED = tuple(map(re.compile, _CLAUSES))
_PREDICATE = tuple(map(re.compile, _PREDICATES))
_HINT_WORD = re.compile(r"ans|choice|option|response|solution|final|correct|letter")
_HINT_LETTER = re.compile(r"(?<![A-Za-z])(?:[A-J](?![^\W_]|['’])|[(\[][\W_]?[A-Za-z][\W_]?[)\]])")
"""One of these is in every form, the letter with or without marks: most sentences are not searched further."""
_QUESTION = re.compile(r"\b(?:what|how|whether|which|where|who|why|not|never|n't)\b|\?\s*\Z", re.IGNORECASE)
_CLAUSE_BREAK = re.compile(r"[,;]\s|\b(?:so|thus|hence|therefore|and|because|since)\s", re.IGNORECASE)
_SURE_KIND = _KIND.removesuffix("{0,3}") + "{1,3}"
"""Before "solution", which heads the reasoning when it stands alone."""
_HEADING = re.compile(
    rf"\s{{0,8}}(?:(?:step\s)?\d{{1,2}}\s?[.:)]\s{{0,6}}|step\s\d{{1,2}}\s?[-–—]\s{{0,6}})?"
    rf"(?:(?:state|give|provide|write|present|determine|choose|select|identify|report|conclude\swith|stating|boxed)\s{{1,3}}(?:down\s)?)?"
    rf"(?:(?:the|my|our|your)\s{{1,3}})?(?:{_KIND}answers?|{_SURE_KIND}solution)(?:\s{{1,3}}(?:choice|option))?\s{{0,3}}[:.]?\s{{0,6}}",
    re.IGNORECASE,
)
_REMARK = re.compile(r"\W{0,4}I hope (?:it|this|that)(?: answer)? (?:is|was) correct\b", re.IGNORECASE)
_TITLE = re.compile(
    r"\s{0,8}(?:#{1,6}\s[^\n]{0,120}|(?:#{1,6}\s{0,3})?(?:\*\*|__)[^*\n]{1,80}(?:\*\*|__):?|(?:\*\*)?step\s\d{1,2}\s?[:.]?(?:\*\*)?|\d{1,2}[.)]|[-*•])\s{0,40}",
    re.IGNORECASE,
)
_LOOSE = re.compile(
    r"\W{0,8}(?:so|thus|therefore|hence|then|and|now|finally|in conclusion|conclusion|in summary|summary|final"
    r"|the final|result|explanation)\W{0,8}",
    re.IGNORECASE,
)
_MATH_MARKS = re.compile(r"\\[\[\]()]|\\(?:text|textbf|mathbf|mathrm|quad|,|;|!)|[${}*_`#>]|\\(?=[%$])")
_FORMULA_OR_CODE = ("```", "\\]", "$$", "|")


class Form(NamedTuple):
    """An announcement at [start, stop) of a sentence, and where its verb is if the answer precedes it: "(18) is the answer"."""

    start: int
    stop: int
    verb: int | None = None


def find_form(sentence: str) -> Form | None:
    """Return the first form in which `sentence` announces an answer, or None.

    >>> find_form("Hence option C is correct.") is not None, find_form("Option C has 3 wheels.")
    (True, None)
    """
    if _HINT_WORD.search(sentence.casefold()) is None and _HINT_LETTER.search(sentence) is None:
        return None
    plain = sentence.translate(_BLANK)
    if any(pattern.match(plain) for pattern in _WHOLE):
        return Form(0, len(sentence))
    for pattern in _PREDICATE:
        found = pattern.search(plain)
        start = _clause_start(plain, found.start()) if found else 0
        if found and not _QUESTION.search(plain[start : found.end() + 8]):
            return Form(start, found.end(), found.start())
    matches = (pattern.search(plain) for pattern in _OPENED)
    clause = next((match for match in matches if match and not _is_inside_bracket(plain, match.start())), None)
    return Form(clause.start(), clause.end()) if clause else None


def _is_inside_bracket(plain: str, place: int) -> bool:
    """Return whether a bracket is open at `place`: cutting there would tear it."""
    before = plain[:place]
    return before.count("(") > before.count(")") or before.count("[") > before.count("]")


def is_answer_heading(piece: str) -> bool:
    """Return whether `piece` is a heading for the answer: "### Final Answer", "Step 5: State the answer"."""
    folded = piece.casefold()
    # Every heading for the answer has one of these nouns.
    if "answer" not in folded and "solution" not in folded:
        return False
    return _HEADING.fullmatch(piece.translate(_BLANK).replace(":", ": ")) is not None


def is_closing_remark(piece: str) -> bool:
    """Return whether `piece` only hopes that the announced answer is right."""
    return _REMARK.match(piece) is not None


def is_dangling(piece: str) -> bool:
    """Return whether `piece` only leads to what was removed after it: a heading, "So", "We get:"."""
    bare = piece.rstrip()
    if bare.endswith(_FORMULA_OR_CODE):
        return False
    if _TITLE.fullmatch(piece) or _LOOSE.fullmatch(piece):
        return True
    return bare.rstrip("*_ ").endswith((":", ",", "=")) and not _holds_more(bare)


def is_bare_value(text: str) -> bool:
    """Return whether `text` is a value alone, with a concluding word or a few words of unit at most.

    >>> is_bare_value("So, $20$ pounds."), is_bare_value("(B) zoo"), is_bare_value("Tom has 5.")
    (True, True, False)
    """
    if has_box(text):
        text = unbox(text)
    plain = " ".join(_MATH_MARKS.sub(" ", text).split())
    plain = plain[lead_stop(plain) :].strip(" .!,:;")
    if len(plain) > 60 or not plain or has_sure_verb(plain):
        return False
    return re.match(
        rf"{_VALUE}(?:[):.]?\s?(?:[^\W\d][\w'’-]{{0,20}}\s?){{0,4}})\Z", plain
    ) is not None or _is_lone_formula(text)


def _is_lone_formula(text: str) -> bool:
    r"""Return whether `text` is one value in LaTeX that is no figure, such as $\frac{1}{2}$ or x^2."""
    plain = re.sub(r"\\[\[\]()]", "", text).strip("$*. \n\t")
    return re.fullmatch(r"-?\s?\\[dt]?(?:frac|sqrt)[^=\n]{1,60}", plain) is not None


def _clause_start(plain: str, stop: int) -> int:
    """Return where the clause that holds `stop` begins."""
    breaks = list(_CLAUSE_BREAK.finditer(plain, 0, stop))
    return breaks[-1].start() if breaks else 0


def _holds_more(line: str) -> bool:
    """Return whether a line that ends in a colon holds a result of its own, and not only a lead."""
    return re.search(r"[=≈]\s{0,3}\S{0,3}\d", line) is not None
