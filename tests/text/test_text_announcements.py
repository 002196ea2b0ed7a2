"""Where answers are announced, and the file of cues behind that."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import resources

import pytest

from kpodx.text.announcements import find_answer_markers, strong_markers
from kpodx.text.cues import load_cues

TABLE = tomllib.loads(resources.files("kpodx.text").joinpath("cues.toml").read_text(encoding="utf-8"))
NEEDED = {
    "hints",
    "lead",
    "nouns",
    "verbs",
    "announcements",
    "weak",
    "conclusions",
    "hedges",
    "refusals",
    "comments",
    "yes",
    "no",
    "joins",
}


def clauses(text: str) -> list[str]:
    """Return the text of each marker."""
    return [text[marker.start : marker.stop] for marker in find_answer_markers(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is 5. Therefore, the answer (Yes or No) is yes", ["Therefore, the answer (Yes or No) is "]),
        ("It is 5. Therefore, the answer (arabic numerals) is 5", ["Therefore, the answer (arabic numerals) is "]),
        (
            "It is 5. Therefore, among the answer choices, the answer is B",
            ["Therefore, among the answer choices, the answer is "],
        ),
        ("Therefore, among A through E, the answer is B.", ["Therefore, among A through E, the answer is "]),
        ("The answer, in dollars, is 5.", ["The answer, in dollars, is "]),
        ("The answer that we get is 5.", ["The answer that we get is "]),
        ("The answer must be B.", ["The answer must be "]),
        ("The answer must be a place.", []),
        ("The answer should be the feeling of a guest.", []),
        ("Answer choices: (A) sea (B) zoo", []),
        ("He gave 5 answers.", []),
        ("Option B is right.", ["Option "]),
        ("Option B is right only if it rains.", []),
        ("Option B is right. So the answer is B.", ["So the answer is "]),
        ("## Answer\n\n18", ["## Answer\n\n"]),
        ("<answer>18</answer>", ["<answer>"]),
        ("It is 5, so the answer", ["so the answer"]),
        ("He knows the answer.", []),
        ("She picks A for 5 dollars.", []),
        ("The means are 5.", []),
        ("Die Antwort lautet: 5", ["Die Antwort lautet:"]),
        ("La respuesta final es 5", ["La respuesta final es "]),
        ("所以，答案是：5", ["所以，答案是："]),
        ("他选择了5个苹果。", []),
        ("La réponse est B", []),
        ("#### 5", ["#### "]),
        ("#### 5 eggs\n", ["#### "]),
        ("It is so.\n#### Paris", ["#### "]),
        ("#### B\nDone.", ["#### "]),
        ("#### Step 2: Multiply\n9 * 2 = 18", []),
        ("#### 1. Add the eggs\nDone.", []),
        ("##### 5", []),
        ("\\boxed{5} and \\boxed{6}", ["\\boxed{", "\\boxed{"]),
    ],
)
def test_announcements(text: str, expected: list[str]) -> None:
    assert clauses(text) == expected


def test_markers_are_in_order_and_apart() -> None:
    text = "Final Answer: The final answer is \\boxed{5}. Antwort: 5. 答案：5. Option B is right."
    markers = find_answer_markers(text)
    assert [text[marker.start : marker.stop].strip(":： ") for marker in markers] == [
        "Final Answer",
        "The final answer is",
        "\\boxed{",
        "Antwort",
        "答案",
    ]
    assert [marker.language for marker in markers] == ["english", "english", "", "german", "chinese"]
    assert [marker.boxed for marker in markers] == [False, False, True, False, False]


def test_every_language_has_every_cue() -> None:
    assert list(TABLE) == ["english", "german", "spanish", "chinese"]
    for language, entry in TABLE.items():
        assert set(entry) >= NEEDED, language
        assert all(hint == hint.lower() for hint in entry["hints"]), language
    assert list(load_cues().languages) == list(TABLE)


@pytest.mark.parametrize("language", list(TABLE))
def test_a_place_in_capitals_or_full_width_is_the_same(language: str) -> None:
    text = {
        "english": "İ So the answer is 5",
        "german": "İ DIE ANTWORT LAUTET 5",
        "spanish": "İ LA RESPUESTA ES 5",
        "chinese": "İ 答案是５",
    }[language]
    (marker,) = find_answer_markers(text)
    assert (marker.start, marker.stop, marker.language) == (2, len(text) - 1, language)


@pytest.mark.parametrize(
    "text",
    [
        "So we have 18.5 apples. The answer, in dollars, is 5.",
        "Is it 3? No! Among the answer choices! the best option is 5.\nans: 5",
        "ans: 5",
        "It is 4. (ans. 5) Final: 5",
        "3.5 + 1.5 = 5. Therefore, the final\nresult is 5. My answer: B",
        "Es sind 3.5 Liter. Also lautet die Antwort: 5. Richtig ist B.",
        "Son 3.5. Por lo tanto, la respuesta final es 5. Resp. 5\nElijo B.",
        "一共3.5。所以，答案是：5。故选B。\n答：5",
        "She was right and chose the option of a letter. Correct: 5",
    ],
)
@pytest.mark.parametrize("before", ["", "She counts 2.5 eggs. ", "Is it so?\n", "She counts what is there. " * 20])
def test_nothing_before_the_first_hint_is_lost(before: str, text: str) -> None:
    whole = before + text
    for cues in load_cues().languages.values():
        found = [(marker.start, marker.stop) for marker in strong_markers(whole, whole.lower(), cues)]
        assert found == [match.span() for match in cues.strong.finditer(whole)]


def test_the_command_line_does_not_read_the_cues() -> None:
    code = "import kpodx.cli, sys; m = sys.modules.get('kpodx.text.cues'); print(m.load_cues.cache_info().currsize if m else 0)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"
