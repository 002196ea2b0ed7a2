"""GloVe files, good and broken, and tf-idf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kpodx.curriculum.clusters import cluster_questions
from kpodx.curriculum.vectors import glove_question_vectors, load_word_vectors, tfidf_question_vectors
from kpodx.errors import DataError

APPLES = "apples 1.0 2.0\npears 3.0 -4.0\n. . 0.5 0.5\nunused 9 9\n"


def glove(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_only_wanted_words_are_kept(tmp_path: Path) -> None:
    vectors = load_word_vectors(glove(tmp_path, APPLES), {"apples", "absent"})
    assert {word: vector.tolist() for word, vector in vectors.items()} == {"apples": [1.0, 2.0]}


def test_words_with_spaces_and_a_header_line(tmp_path: Path) -> None:
    vectors = load_word_vectors(glove(tmp_path, "4 2\n" + APPLES), {". .", "pears"})
    assert vectors[". ."].tolist() == [0.5, 0.5]
    assert vectors["pears"].tolist() == [3.0, -4.0]


def test_means_over_words_and_zeros_for_none(tmp_path: Path) -> None:
    vectors = glove_question_vectors(["Apples, pears; stones?", "42!", "apples apples pears"], glove(tmp_path, APPLES))
    assert vectors == pytest.approx(np.array([[2.0, -1.0], [0.0, 0.0], [5 / 3, 0.0]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apples 1.0 2.0\npears 3.0\n", r"line 2: expected a word and 2 numbers, got 2 fields"),
        ("apples 1.0 2.0\npears 3.0 x\n", r"line 2: expected numbers after the word"),
        ("apples 1.0 2.0\npears 3.0 nan\n", r"line 2: expected finite numbers"),
        ("apples\n", r"line 1: expected a word and 1 numbers, got 1 fields"),
        ("apples 1.0 2.0\n\n", r"line 2: expected a word"),
        ("", r"holds no word vectors"),
        ("3 2\n", r"holds no word vectors"),
    ],
)
def test_malformed_files_are_refused_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_word_vectors(glove(tmp_path, text), {"apples", "pears"})


def test_a_missing_file_and_a_foreign_language_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a file"):
        load_word_vectors(tmp_path / "absent.txt", {"apples"})
    with pytest.raises(DataError, match="none of the words"):
        glove_question_vectors(["les pommes"], glove(tmp_path, APPLES))


def test_tfidf_separates_topics() -> None:
    texts = [f"the train leaves the station at {i}" for i in range(40)]
    texts += [f"a farmer sells {i} eggs every day" for i in range(40)]
    labels = cluster_questions(tfidf_question_vectors(texts, seed=0), 2, seed=0)
    assert len(set(labels[:40].tolist())) == len(set(labels[40:].tolist())) == 1
    assert labels[0] != labels[-1]


def test_tfidf_is_reduced_and_follows_its_seed() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{i}" for i in rng.integers(0, 300, 12)) for _ in range(200)]
    vectors = tfidf_question_vectors(texts, seed=1)
    assert vectors.shape == (200, 64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
    assert np.array_equal(vectors, tfidf_question_vectors(texts, seed=1))


def test_tfidf_of_degenerate_texts() -> None:
    assert not tfidf_question_vectors(["?", "", "…"], seed=0).any()
    assert tfidf_question_vectors(["one apple"], seed=0).shape == (1, 2)
    same = tfidf_question_vectors([" ".join(f"word{i}" for i in range(100))] * 100, seed=0)
    assert np.isfinite(same).all()
    assert np.allclose(same, same[0])
