"""The quickstart's starting student: what it is taught, its vocabulary, and that the shipped weights are what the page says."""

from __future__ import annotations

import random
import re
import runpy
from pathlib import Path

import pytest

from kpodx.dataset.embedded import split_of
from kpodx.modeling.loading import load_tokenizer, load_with_tokenizer
from kpodx.schema import Split

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
STUDENT = FOLDER / "quickstart-student"


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    """The names of the script that makes it."""
    return runpy.run_path(str(FOLDER / "make_starting_student.py"))


def test_separate_sums_are_answered_by_the_last_one(script: dict[str, object]) -> None:
    pairs = script["single_sums"](random.Random(0), 200, "basic")  # type: ignore[operator]
    assert len(pairs) == 200
    assert {question.question.count(" and ") for question, _ in pairs} == {0, 1, 2}
    for question, rationale in pairs:
        sums = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)\.", rationale.text)
        assert len(sums) == question.question.count(" and ") + 1
        for left, operator, right, result in sums:
            a, b = int(left), int(right)
            assert int(result) == {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[operator]
        assert question.answer == rationale.answer == sums[-1][3]


def test_stories_have_one_step_each_and_are_of_the_train_split(script: dict[str, object]) -> None:
    pairs = script["short_stories"](random.Random(0), 300, "basic", 1)  # type: ignore[operator]
    lengths = set()
    for question, rationale in pairs:
        stories = re.findall(r".*?\?", question.question)
        lengths.add(len(stories))
        assert all(split_of(story.strip()) is Split.TRAIN for story in stories)
        assert rationale.text.count("=") == len(stories)
        assert rationale.text.endswith(f"= {question.answer}.")
        assert "answer" not in rationale.text
    assert lengths == {1, 2}


def test_the_shipped_vocabulary_keeps_words_whole_and_digits_apart() -> None:
    tokenizer = load_tokenizer(str(STUDENT))
    assert tokenizer.tokenize("Anna buys 25 apples, so that is 7 + 25 = 32.") == [
        *("▁Anna", "▁buys", "▁2", "5", "▁apples", ",", "▁so", "▁that", "▁is"),
        *("▁7", "▁+", "▁2", "5", "▁=", "▁3", "2", "."),
    ]
    odd = "Zoë's quokka $1,250.50"
    ids = tokenizer(odd, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids).replace(" ", "").startswith("Zo")


def test_the_shipped_weights_are_small_and_load_as_they_are() -> None:
    files = sum(path.stat().st_size for path in STUDENT.glob("*.safetensors"))
    assert 0 < files <= 6 * 2**20
    model, tokenizer = load_with_tokenizer(str(STUDENT))
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.is_encoder_decoder


def test_the_script_trains_a_student_that_loads(
    script: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["make", "--output", str(tmp_path), "--updates", "2", "--batch-size", "4", "--questions", "4"]
    )
    script["main"]()  # type: ignore[operator]
    assert re.search(r"^1-step stories answered: \d of 4$", capsys.readouterr().err, re.MULTILINE)
    model, _ = load_with_tokenizer(str(tmp_path))
    assert model.config.d_model == 128
