"""Question vectors that need no model: mean GloVe vectors, as the paper has them, and tf-idf."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from kpodx.errors import DataError

_WORD = re.compile(r"\w+")
_NUM_COMPONENTS = 64


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation.

    >>> split_words("Natalia's 48 clips!")
    ['natalia', 's', '48', 'clips']
    """
    return _WORD.findall(text.lower())


def load_word_vectors(path: Path, vocabulary: set[str]) -> dict[str, Float32[np.ndarray, " num_dims"]]:
    """The vectors of the words in `vocabulary` that a GloVe text file holds, read line by line.

    A line is a word and its numbers, separated by single spaces. Words may hold spaces themselves (the largest public
    file has some): the numbers are counted from the right, as many as the first line has. A first line of two whole
    numbers (words, dimensions), which other tools write, is skipped. Numbers are read only of words that are needed.

    Raises:
        DataError: the file is missing or empty, or a line has too few fields or something that is not a finite number.
    """
    if not path.is_file():
        raise DataError(
            f"curriculum.glove_path: expected a GloVe text file, got {path}, which is not a file.",
            hint="Name an unpacked file such as glove.6B.100d.txt, or use curriculum.question_vectors=tfidf.",
        )
    wanted = {word.encode(): word for word in vocabulary}
    vectors: dict[str, np.ndarray] = {}
    num_dims = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            fields = line.rstrip(b" \r\n").split(b" ")
            if number == 1 and len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit():
                continue
            num_dims = num_dims or len(fields) - 1
            if num_dims < 1 or len(fields) <= num_dims:
                raise _malformed(
                    path, number, f"expected a word and {max(num_dims, 1)} numbers, got {len(fields)} fields"
                )
            word = wanted.get(b" ".join(fields[:-num_dims]))
            if word is not None:
                vectors[word] = _parse_numbers(fields[-num_dims:], path, number)
    if not num_dims:
        raise DataError(f"{path} holds no word vectors.", hint="Download the file again.")
    return vectors


def _parse_numbers(fields: list[bytes], path: Path, number: int) -> Float32[np.ndarray, " num_dims"]:
    """The numbers of one line, which must be finite."""
    try:
        vector = np.array([float(field) for field in fields], dtype=np.float32)
    except ValueError as error:
        raise _malformed(path, number, f"expected numbers after the word, got {error}") from error
    if not np.isfinite(vector).all():
        raise _malformed(path, number, "expected finite numbers, got NaN or infinity")
    return vector


def _malformed(path: Path, number: int, problem: str) -> DataError:
    return DataError(f"{path}, line {number}: {problem}.", hint="Unpack or download the GloVe file again.")


def glove_question_vectors(texts: Sequence[str], path: Path) -> Float32[np.ndarray, "num_questions num_dims"]:
    """The mean GloVe vector of the words of each text; zeros for a text without a known word.

    Raises:
        DataError: the file cannot be used, or knows no word of any text.
    """
    words = [split_words(text) for text in texts]
    known = load_word_vectors(path, {word for text_words in words for word in text_words})
    if not known:
        raise DataError(
            f"{path} holds none of the words of the questions.",
            hint="Use vectors of the questions' language, or curriculum.question_vectors=tfidf.",
        )
    zero = np.zeros_like(next(iter(known.values())))
    means = [np.mean([known[word] for word in text_words if word in known] or [zero], axis=0) for text_words in words]
    return np.stack(means)


def tfidf_question_vectors(texts: Sequence[str], seed: int) -> Float64[np.ndarray, "num_questions num_dims"]:
    """Unit vectors of the texts' topics: tf-idf, reduced to 64 numbers by a truncated singular value decomposition.

    The first singular direction is left out: tf-idf is never negative, so that direction is close to the mean text
    ("how many … does … have") and says nothing of the topic. Without it, and with unit length, K-means on questions
    gives clusters of similar size that hardly depend on the seed. Sets of at most 65 texts or words keep their tf-idf
    vectors; texts without any word get zeros.

    Args:
        texts: the questions.
        seed: seed of the randomised decomposition.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    if not any(split_words(text) for text in texts):
        return np.zeros((len(texts), 1))
    vectorizer = TfidfVectorizer(tokenizer=split_words, token_pattern=None, lowercase=False, sublinear_tf=True)
    matrix = vectorizer.fit_transform(texts)
    if min(matrix.shape) <= _NUM_COMPONENTS + 1:
        return np.asarray(matrix.toarray(), dtype=np.float64)
    decomposition = TruncatedSVD(_NUM_COMPONENTS + 1, random_state=seed % 2**32)
    with np.errstate(invalid="ignore", divide="ignore"):  # the share of variance, unused here, of identical texts
        components = decomposition.fit_transform(matrix)
    return np.asarray(normalize(components[:, 1:]), dtype=np.float64)
