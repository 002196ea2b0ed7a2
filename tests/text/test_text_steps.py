"""Step splitting: hand cases, the tiling property, and counts on real rationales."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.text.completions import clean_completion, remove_calculator_marks
from kpodx.text.steps import split_steps, step_texts


@pytest.mark.parametrize(
    "steps",
    [
        [],
        ["He has 5 apples."],
        ["He has 5 apples. ", "She has 3."],
        ["He pays $3.50. ", "She pays .75. ", "Done"],
        ["So there is 1. ", "5 more come."],
        ["Mr. Smith met Mrs. Lee and Dr. No. ", "They left."],
        ["It is e.g. red, i.e. not blue. ", "Then"],
        ["He rises at 7 a.m. and sleeps at 9 p.m. daily. ", "At 5 p.m. ", "She eats."],
        ["A 12 oz. can and a 5 lb. bag, 6 ft. long. ", "Next"],
        ["St. Paul is in the U.S. state of Minnesota. ", "Go."],
        ["Bus No. 5 stops. ", "No. ", "It does not."],
        ["It is Smith vs. Lee, approx. 5 points. ", "End."],
        ["J. Smith met J. K. Rowling. ", "They ran."],
        ["We take plan B. ", "Then we go."],
        ["1. First add. ", "2. Then halve.\n", "3. Done"],
        ["1.\nFirst add.\n", "2.\nHalve"],
        ["Step 1. Add 3. ", "Step 2. Halve."],
        ["Hmm... let me see. ", "Well... ", "Now I see."],
        ["Hmm… let me see. ", "Good."],
        ['He said "stop." ', 'Then "go!" he said. ', "End"],
        ["(It was 5.) ", "Then 6."],
        ["How many? ", "Five! ", "Good"],
        ["First line\n", "second line\n\n", "third"],
        ["5! = 120 is a factorial. ", "Yes"],
        ["  leading space. ", "Then"],
        ["... He waits. ... "],
        ["Good. !!! ", "Then"],
        ["***\nTitle\n", "Text"],
        ["\n\n"],
        ["?!"],
        ["48/2 = 24 clips.\n", "#### 72"],
    ],
)
def test_hand_cases(steps: list[str]) -> None:
    assert step_texts("".join(steps)) == steps


ALPHABET = "aB1 .!?…\n\"')]*-=,#$é"


@settings(deadline=None, max_examples=400)
@given(st.one_of(st.text(max_size=120), st.text(ALPHABET, max_size=120)))
def test_steps_tile_the_text(text: str) -> None:
    spans = split_steps(text)
    assert "".join(text[span.start : span.stop] for span in spans) == text
    assert all(len(span) > 0 for span in spans)
    assert [span.start for span in spans[1:]] == [span.stop for span in spans[:-1]]
    if any(map(str.isalnum, text)):
        assert all(any(map(str.isalnum, text[span.start : span.stop])) for span in spans)
    else:
        assert len(spans) <= 1


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from(["He has 3.50 apples.", "Is it so?", "Then $1,200.25 remain!", "It costs 5."]), min_size=1)
)
def test_plain_sentences_are_one_step_each(sentences: list[str]) -> None:
    assert [step.strip() for step in step_texts(" ".join(sentences))] == sentences


HOSTILE = (
    *(
        ".",
        ". ",
        "\n",
        "\n ",
        " ",
        "a. ",
        "Mr. ",
        "1. ",
        "…",
        '."',
        "J. ",
        "No. ",
        "x.Then",
        "(",
        "(a. B",
        "(i) ",
        "（",
    ),
    *("$$", "$$ x\n\n", "\\[", "\\[ x ", "\\[\n\n", "\\begin{align}", "\\begin{cases}\n\n", "\\end{align}", "\\\\"),
    *("```\n", "```py\n", "`" * 5 + "\n```\n", "`", "`a ", "~~~\n", "1.\n", "* ", "\n- 1. ", "。", "」"),
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_linear_in_the_length(unit: str) -> None:
    text = (unit * 200_000)[:200_000]
    started = time.process_time()
    assert "".join(step_texts(text)) == text
    assert time.process_time() - started < 2


def test_gsm8k_solutions_have_a_step_a_line(shared_data: Path) -> None:
    """A human solution writes a step a line; sentences inside a line add some. No step falls apart at a decimal."""
    more = fewer = 0
    counts = []
    for line in (shared_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        text = remove_calculator_marks(json.loads(line)["answer"].rpartition("####")[0].strip())
        assert "<<" not in text
        steps = step_texts(text)
        lines = [part for part in text.split("\n") if any(map(str.isalnum, part))]
        counts.append(len(steps))
        more, fewer = more + (len(steps) > len(lines)), fewer + (len(steps) < len(lines))
        assert not any(
            step[:1].isdigit() and before.rstrip(" ")[-1:].isdigit() for before, step in itertools.pairwise(steps)
        )
    assert fewer == 0
    assert 3.5 < statistics.fmean(counts) < 4.8
    assert max(counts) < 30


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("gsm8k_test.gpt3.5class", 4, 7), ("svamp_train.palm540b", 3, 7), ("commonsenseqa_train.palm540b", 2.8, 3.4)],
)
def test_teacher_completions_have_plausible_counts(shared_data: Path, name: str, low: float, high: float) -> None:
    lines = (shared_data / "teacher_records" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [clean_completion(json.loads(line)["completion"]) for line in lines]
    assert low < statistics.fmean(len(split_steps(text)) for text in texts if text) < high
