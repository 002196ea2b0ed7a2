"""Raw completions: cutting invented questions, leaving out restated ones and headings, removing calculator marks."""

from __future__ import annotations

import re

from kpodx.text.announcements import find_answer_markers
from kpodx.text.clauses import has_sure_verb
from kpodx.text.closers import without_closers
from kpodx.text.escapes import single_backslashes
from kpodx.text.steps import count_steps, step_bounds

# A line that opens a new question; few-shot teachers run on into questions of their own.
_RUN_ON = re.compile(
    r"(?:\A\s*+|\n)[ \t>#*]{0,6}(?:(?:(?P<short>Q|Human|User)|Question|Problem|Exercise)(?: ?\d{1,4})?[ *]{0,3}:[*]{0,3}"
    r"|Q\d{0,4}[.)] |Q\s{0,3}\Z)",
    re.IGNORECASE,
)
_SPECIAL_TOKEN = re.compile(r"</s>|<\|(?:endoftext|im_end|eot_id|end_of_text|end)\|>|<end_of_turn>|<pad>")
_LEADING_A = re.compile(r"\s*+[*]{0,2}A[*]{0,2}:[*]{0,2}\s*+")
_HEADING_WORDS = (
    r"solution|explanation|reasoning|reasons?|rationale|justification|analysis|working|approach|chain of thought|thought process"
    r"|step[- ]by[- ]step(?: (?:solution|explanation|reasoning))?"
    r"|erklärung|begründung|lösung|explicación|razonamiento|solución|解释|解析|解答|分析|推理"
)
_HEADING_PREFIX = r"(?:#{1,6}[ ]?)?[*_]{0,3}(?:(?:detailed|full|brief|short|my|the|step[- ]by[- ]step) )?"
_HEADING_END = r"[*_]{0,3}(?:[:：][*_]{0,3}|(?=[ \t]{0,20}(?:\n|\Z)))\s*+"
_HEADING = re.compile(
    rf"\s*+{_HEADING_PREFIX}(?:(?P<answer>answer|response)|{_HEADING_WORDS}){_HEADING_END}", re.IGNORECASE
)
_MOST_HEADINGS = 3
_SOLUTION = re.compile(
    rf"\n[ \t>]{{0,6}}(?:{_HEADING_PREFIX}(?:answer|response|{_HEADING_WORDS}){_HEADING_END}|[*]{{0,2}}A[*]{{0,2}}:"
    r"|[#*\s]{0,6}step 1\b|let['’]s\b)",
    re.IGNORECASE,
)
"""Where a solution begins after a restated question."""
_PREFACE = re.compile(
    r"[\s>#*_-]{0,12}(?:let['’]?s|sure|certainly|of course|okay|ok|alright|here['’]?s|here is|i['’]ll|i will|we (?:need|are asked|will)"
    r"|to solve|given|known|data|facts|context|passage|background|task|input|information|options|choices|understand\w{0,5}"
    r"|restat\w{1,6}|step[- ]by[- ]step|solution|math|the (?:question|problem))\b|[ \t]{0,6}#{1,6}\s",
    re.IGNORECASE,
)
"""Opens a line before a restated question that solves nothing yet."""
_MOST_PREFACE_LINES = 8
_OPTION_LINES = re.compile(r"(?:[ \t]{0,8}(?:\([A-Za-z]\)|[A-Ha-h][.)])[^\n]{0,400}(?:\n|\Z)|[ \t]{0,8}\n){1,30}")
_SHORT_ANSWER = re.compile(
    r"[*_$\"'“(\[\\]{0,5}(?:[A-Za-z][)\].:]|[B-HJ-Z](?=\s|\Z|\*)|A\s{0,3}\Z|(?:yes|no|true|false)\b"
    r"|[-−]?[$€£]?\d[\d,.]{0,20}\s?%?[*_$)]{0,4}(?:\s[^\W\d]{1,20}){0,2}[*_$)]{0,4}(?:\.(?:\s|\Z)|\Z))",
    re.IGNORECASE,
)
_MOST_ANSWER_WORDS = 8
_SAME_QUESTION = 0.6
"""Share of a question's words that a restated one has at least."""
_CALCULATOR = re.compile(r"<<[^<>\n=]{1,200}=[^<>\n]{0,200}>>")


def remove_calculator_marks(text: str) -> str:
    """`text` without GSM8K's calculator marks.

    >>> remove_calculator_marks("48/2 = <<48/2=24>>24 clips")
    '48/2 = 24 clips'
    """
    return _CALCULATOR.sub("", text)


def clean_completion(text: str, question: str = "") -> str:
    """Return a completion up to the first invented question or end-of-text token, without a heading such as "A:", stripped.

    Closing sentences for the reader of a chat ("I hope this helps!") go, too, and doubled backslashes become single ones.
    A question that is restated before its solution is not an invented one: it is left out, and the solution stays.

    Args:
        text: what the teacher wrote.
        question: what it was asked, if known; it tells a restated question from an invented one.

    >>> clean_completion("\\nA: 2 + 3 = 5. The answer is 5.\\n\\nQ: There are 15 trees")
    '2 + 3 = 5. The answer is 5.'
    >>> clean_completion("**Problem:** How many eggs?\\n\\n**Solution:** 2 + 3 = 5.")
    '2 + 3 = 5.'
    """
    text = single_backslashes(text)
    special = _SPECIAL_TOKEN.search(text)
    text = text[: special.start()] if special else text
    text = _without_restated(text, question)
    run_on = _find_run_on(text)
    text = text[: run_on.start()] if run_on else text
    leading = _LEADING_A.match(text)
    return without_closers(without_headings(text[leading.end() :] if leading else text)).strip()


def without_headings(text: str) -> str:
    """Return `text` without a heading of the whole solution ("Solution:", "### Explanation") at its start.

    "Answer:" is such a heading only if reasoning follows it, and not a bare answer.

    >>> without_headings("Explanation: 2 + 3 = 5."), without_headings("Answer: B\\n\\nIt has cages.")
    ('2 + 3 = 5.', 'Answer: B\\n\\nIt has cages.')
    """
    for _ in range(_MOST_HEADINGS):
        heading = _HEADING.match(text)
        if heading is None or not _heads_reasoning(heading, text[heading.end() :]):
            break
        text = text[heading.end() :]
    return text


def _heads_reasoning(heading: re.Match[str], rest: str) -> bool:
    """Return whether `heading` is above a whole solution, `rest`, and does not announce an answer."""
    if heading["answer"] is None:
        return bool(rest.strip())
    line = rest.lstrip().partition("\n")[0]
    if _SHORT_ANSWER.match(line):
        return False
    # "the wooded area" is an answer, whatever sentence follows it on its line.
    first = line[: step_bounds(line)[0][1]] if line else ""
    is_sentence = len(first.split()) > _MOST_ANSWER_WORDS or has_sure_verb(first)
    return is_sentence and count_steps(rest) > 1


def _find_run_on(text: str) -> re.Match[str] | None:
    """Return the first line of `text` that opens a new question; a text of one line is not searched."""
    return _RUN_ON.search(text) if "\n" in text else _RUN_ON.match(text)


def _without_restated(text: str, question: str) -> str:
    """Return `text` without the question that it restates before it solves it."""
    found = _find_run_on(text)
    if found is None or not _restates(text, found, question):
        return text
    following = _RUN_ON.search(text, found.end())
    stop = following.start() if following else len(text)
    body = _next_text(text, found.end(), stop)
    solution = _SOLUTION.search(text, found.end(), stop)
    before = "" if _is_preface(text[: found.start()]) else text[: found.start()] + "\n"
    if solution is not None:
        return before + text[solution.start() :].lstrip()
    if found["short"]:
        return text
    gap = re.compile(r"\n[ \t]*+\n").search(text, body, stop) or re.compile(r"\n").search(text, body, stop)
    if gap is None:
        return text[: found.start()]
    options = _OPTION_LINES.match(text, gap.end(), stop)
    return before + text[options.end() if options else gap.end() :]


def _next_text(text: str, start: int, stop: int) -> int:
    """Return where the first character after white space is in [start, stop)."""
    while start < stop and text[start] in " \t\n*":
        start += 1
    return start


def _restates(text: str, found: re.Match[str], question: str) -> bool:
    """Return whether the question that `found` opens is the one to be solved, and not an invented one."""
    before = text[: found.start()]
    if find_answer_markers(before):
        return False
    # Headings such as "Problem:" are the teacher's own; "Q:" may come from the examples of a prompt.
    if _is_preface(before) and (not question or not found["short"]):
        return True
    if not question:
        return False
    asked = set(re.findall(r"\w+", question.lower()))
    restated = set(re.findall(r"\w+", text[found.end() : found.end() + 2 * len(question) + 200].lower()))
    return len(asked & restated) >= _SAME_QUESTION * len(asked)


def _is_preface(before: str) -> bool:
    """Return whether nothing is solved yet in what precedes a question: it is empty, an opening phrase, or given facts."""
    lines = [line for line in before.splitlines() if any(map(str.isalnum, line))]
    return len(lines) <= _MOST_PREFACE_LINES and all(map(_PREFACE.match, lines))
