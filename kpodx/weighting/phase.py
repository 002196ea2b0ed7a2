"""The weighting phase: rationales → token weights."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kpodx import artifacts
from kpodx.modeling.tokenization import encode_continuations
from kpodx.runtime import PhaseContext, seed_everything
from kpodx.weighting.agreement import weight_by_frequency
from kpodx.weighting.config import WeightingConfig
from kpodx.weighting.figures import weights_by_type
from kpodx.weighting.known_keypoints import describe_known_keypoints
from kpodx.weighting.mask_learning import CHECKPOINT, learn_weights
from kpodx.weighting.material import Material, Weights, load_material
from kpodx.weighting.rivals import RIVALS, clean_up
from kpodx.weighting.validation import check_beats_random


def run(context: PhaseContext) -> dict[str, object]:
    """Give every token of every rationale a weight; see `docs/weighting.md`."""
    config: WeightingConfig = context.recipe.weighting
    material = load_material(context)
    seed_everything(context.seed)
    values, masks, history = _weigh(context, config, material)

    weights = material.pack(values)
    by_type = weights_by_type(weights, material.rationales, material.tokenizer)
    findings = context.output / artifacts.FINDINGS
    frequency = weight_by_frequency(weights, [item.rationale_ids for item in material.tokenized])
    encoded = encode_continuations(material.tokenizer, [rationale.text for rationale in material.rationales])
    known = describe_known_keypoints(weights, material.rationales, encoded)
    known_keypoints = None if known is None else asdict(known)
    found = {
        "method": config.method,
        "masks": masks,
        "token_types": by_type,
        "frequency": frequency,
        "known_keypoints": known_keypoints,
        "history": history,
    }
    artifacts.save_token_weights(context.output, weights)
    artifacts.write_json(findings, found)
    if masks is not None:
        if not config.accept_uninformative:
            # The checkpoint stays: accepting these weights afterwards then costs no second training.
            check_beats_random(masks, findings)
        if not masks["beats_random"]:
            context.progress.note(
                "WARNING: these token weights beat no random mask on held-out rationales; they were accepted."
            )
    (context.output / CHECKPOINT).unlink(missing_ok=True)
    clean_up(context.output)

    return {
        "method": config.method,
        "num_tokens": int(weights.offsets[-1]),
        "mean_token_weight": round(float(weights.token_weight.mean()), 4),
        "masks": masks,
        "token_types": by_type,
        "known_keypoints": known_keypoints,
    }


def _weigh(
    context: PhaseContext, config: WeightingConfig, material: Material
) -> tuple[Weights, dict[str, Any] | None, list[dict[str, float]]]:
    """Return the weights and, if a mask was learnt, how it reads held-out rationales and how learning went."""
    if config.method == "mask-learning":
        learnt = learn_weights(context, config, material)
        return learnt.weights, learnt.masks, learnt.history
    return RIVALS[config.method](context, config, material), None, []
