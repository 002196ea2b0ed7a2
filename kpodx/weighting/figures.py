"""What token weights look like: by type of token, against keypoints, and against another run's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from kpodx.modeling.loading import Tokenizer
from kpodx.modeling.tokenization import encode_continuations
from kpodx.schema import Rationale, TokenWeights
from kpodx.statistics import rank_separation
from kpodx.text.token_types import KEYPOINT_TYPES, TokenType, token_type


def weights_by_type(weights: TokenWeights, rationales: Sequence[Rationale], tokenizer: Tokenizer) -> dict[str, object]:
    """Return the mean weight and count of each type of token, and how surely digits and operators stand above the rest.

    `keypoints_over_function_words` and `keypoints_over_others` are the probability that a random digit or operator outweighs a
    random function word, or a random token of any other type (the area under the ROC curve; 0.5 is chance).
    """
    groups: dict[TokenType, list[float]] = defaultdict(list)
    texts = [r.text for r in rationales]
    for row, (text, (_, spans)) in enumerate(zip(texts, encode_continuations(tokenizer, texts), strict=True)):
        for (start, stop), weight in zip(spans, weights.of(row).tolist(), strict=True):
            groups[token_type(text[start:stop])].append(weight)
    filled = {kind: values for kind, values in groups.items() if values}
    table: dict[str, object] = {
        kind.value: {"mean": round(float(np.mean(values)), 4), "count": len(values)}
        for kind, values in sorted(filled.items(), key=lambda item: -float(np.mean(item[1])))
    }

    high = [weight for kind in KEYPOINT_TYPES for weight in groups[kind]]
    others = [weight for kind, values in groups.items() if kind not in KEYPOINT_TYPES for weight in values]
    for name, low in (("function_words", groups[TokenType.FUNCTION_WORD]), ("others", others)):
        if high and low:
            table[f"keypoints_over_{name}"] = round(rank_separation(high, low), 4)
    return table
