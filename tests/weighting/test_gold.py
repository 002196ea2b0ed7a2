"""Weights from known keypoints: by hand, from artifacts to artifacts, and without marks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phase_inputs import context_for, mark_results, write_inputs

from kpodx import artifacts
from kpodx.errors import DataError
from kpodx.modeling.loading import load_tokenizer
from kpodx.modeling.token_spans import overlapping
from kpodx.modeling.tokenization import encode_continuations
from kpodx.runtime import PhaseContext
from kpodx.schema import Rationale, Span, TokenWeights
from kpodx.weighting import phase
from kpodx.weighting.agreement import KeypointSeparation
from kpodx.weighting.config import GoldWeights, WeightingConfig
from kpodx.weighting.gold import gold_weights
from kpodx.weighting.known_keypoints import KnownKeypoints, describe_known_keypoints

SPAN = st.tuples(st.integers(0, 12), st.integers(0, 4)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gold") / "in"
    write_inputs(folder, 8)
    mark_results(folder)
    return folder


def context(inputs: Path, student: Path, out: str, **changes: Any) -> PhaseContext:
    return context_for(inputs, student, out, weighting=WeightingConfig(method="gold", **changes))


def test_gold_weights_by_hand() -> None:
    # "so 3 + 12 = 15." with "12" cut in two; the keypoints are "+", "12" and "15".
    spans = [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9), (9, 11), (11, 14), (14, 15)]
    found = gold_weights(spans, [(12, 14), (5, 6), (7, 9)], keypoint=0.75, other=0.25)
    assert found.tolist() == [0.25, 0.25, 0.75, 0.75, 0.75, 0.25, 0.75, 0.25]
    assert gold_weights(spans, [], keypoint=0.75, other=0.25).tolist() == [0.25] * len(spans)
    assert len(gold_weights([], [(0, 1)], keypoint=0.75, other=0.25)) == 0


@given(st.lists(SPAN, max_size=8), st.lists(SPAN.filter(lambda span: span[1] > span[0]), max_size=6))
def test_tokens_overlap_ranges_in_any_order(spans: list[Span], ranges: list[Span]) -> None:
    expected = [any(start < end and begin < stop for begin, end in ranges) for start, stop in spans]
    assert overlapping(spans, ranges) == expected


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama"])
def test_marks_reach_the_weights(inputs: Path, family: str, request: pytest.FixtureRequest) -> None:
    student: Path = request.getfixturevalue(family)
    ctx = context(inputs, student, f"out-{family}", gold_weights={"keypoint": 0.75, "other": 0.125})
    assert phase.run(ctx)["method"] == "gold"
    weights = artifacts.load_token_weights(ctx.output)
    rationales = artifacts.load_rationales(inputs / "rationales")
    encoded = encode_continuations(load_tokenizer(str(student)), [r.text for r in rationales])
    for row, (rationale, (_, spans)) in enumerate(zip(rationales, encoded, strict=True)):
        assert rationale.keypoints
        high = [span for span, weight in zip(spans, weights.of(row), strict=True) if weight == 0.75]
        assert set(weights.of(row).tolist()) == {0.75, 0.125}
        characters = {at for start, stop in high for at in range(start, stop) if rationale.text[at] != " "}
        assert characters == {at for start, stop in rationale.keypoints for at in range(start, stop)}


def test_findings_compare_weights_with_the_marks(inputs: Path, tiny_t5: Path) -> None:
    ctx = context(inputs, tiny_t5, "out-findings")
    summary = phase.run(ctx)
    found = artifacts.read_json(ctx.output / "findings.json")["known_keypoints"]
    assert summary["known_keypoints"] == found
    assert found["num_rationales"] == 8
    assert found["separation"] == {"over_all": 1.0, "among_numbers": 1.0}
    # The table knows a type only: a marked number outweighs no other number, and operators that are not marked weigh as much.
    assert found["token_type_separation"]["among_numbers"] == 0.5
    assert 0.5 < found["token_type_separation"]["over_all"] < 1
    assert sum(band["count"] for band in found["frequency"]["bands"]) == found["num_keypoints"]
    # All keypoints weigh alike, so that nothing goes with their frequency.
    assert found["frequency"]["rank_correlation"] is None


def test_known_keypoints_by_hand() -> None:
    rationales = [
        Rationale("a", "q", "3 + 4 = 7", "7", "t", ((4, 5), (8, 9))),
        Rationale("b", "q", "9 8", "8", "t"),
        Rationale("c", "q", "4 eggs", "4", "t", ((0, 1),)),
    ]
    ids = [[3, 1, 4, 2, 7], [9, 8], [4, 5]]
    spans = [[(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)], [(0, 1), (2, 3)], [(0, 1), (2, 6)]]
    values = [0.5, 0.75, 0.875, 0.25, 0.5, 1.0, 1.0, 0.625, 0.125]
    weights = TokenWeights(("a", "b", "c"), np.array([0, 5, 7, 9]), np.array(values, dtype=np.float32), "h")
    found = describe_known_keypoints(weights, rationales, list(zip(ids, spans, strict=True)))
    assert found is not None
    assert (found.num_rationales, found.num_keypoints) == (2, 3)
    # Keypoints: 4 (0.875), 7 (0.5), 4 (0.625). Others: 3 (0.5), + (0.75), = (0.25), eggs (0.125). Wins 4 + 2.5 + 3 of 12.
    assert found.separation == KeypointSeparation(round(9.5 / 12, 4), round(2.5 / 3, 4))
    # By type digits and operators tie: half a win against 3, + and =, a whole one against eggs.
    assert found.token_type_separation == KeypointSeparation(2.5 / 4, 0.5)
    # "4" is twice a keypoint with a mean of 0.75, "7" once with 0.5.
    assert found.frequency == {
        "rank_correlation": 1.0,
        "bands": [{"at_most": 9, "distinct": 2, "count": 3, "mean": 0.6667}],
    }


def test_without_marks_or_keypoints_there_is_nothing_to_compare() -> None:
    weights = TokenWeights(("a",), np.array([0, 1]), np.array([0.5], dtype=np.float32), "h")
    bare = Rationale("a", "q", "3", "3", "t")
    encoded = [([3], [(0, 1)])]
    assert describe_known_keypoints(weights, [bare], encoded) is None
    found = describe_known_keypoints(weights, [replace(bare, keypoints=())], encoded)
    nothing = KeypointSeparation(None, None)
    assert found == KnownKeypoints(1, 0, nothing, nothing, None)


def test_a_rationale_without_marks_is_an_error_that_names_it(inputs: Path, tiny_t5: Path, tmp_path: Path) -> None:
    marked = artifacts.load_rationales(inputs / "rationales")
    folder = tmp_path / "in"
    (folder / "rationales").mkdir(parents=True)
    (folder / "dataset").symlink_to(inputs / "dataset")
    artifacts.save_rationales(folder / "rationales", [replace(marked[0], keypoints=()), *marked[1:]])
    phase.run(context(folder, tiny_t5, "out-empty"))

    artifacts.save_rationales(folder / "rationales", [*marked[:2], replace(marked[2], keypoints=None), *marked[3:]])
    with pytest.raises(DataError, match=f"1 of 8 have none: {marked[2].id}") as caught:
        phase.run(context(folder, tiny_t5, "out-unmarked"))
    assert caught.value.exit_code == 2
    assert "another weighting.method" in (caught.value.hint or "")


def test_a_gold_weight_of_zero_is_refused() -> None:
    assert (GoldWeights().keypoint, GoldWeights().other) == (0.98, 0.23)
    with pytest.raises(ValueError, match="greater than 0"):
        GoldWeights(other=0.0)
