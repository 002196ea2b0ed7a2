"""The weighting phase: rationales → token weights."""

from __future__ import annotations

from kpodx import artifacts
from kpodx.runtime import PhaseContext, seed_everything
from kpodx.weighting.config import WeightingConfig
from kpodx.weighting.figures import weights_by_type
from kpodx.weighting.mask_learning import CHECKPOINT, learn_weights
from kpodx.weighting.material import load_material
from kpodx.weighting.validation import check_beats_random


def run(context: PhaseContext) -> dict[str, object]:
    """Give every token of every rationale a weight; see `docs/weighting.md`."""
    config: WeightingConfig = context.recipe.weighting
    material = load_material(context)
    seed_everything(context.seed)
    learnt = learn_weights(context, config, material)

    weights = material.pack(learnt.weights)
    by_type = weights_by_type(weights, material.rationales, material.tokenizer)
    findings = context.output / artifacts.FINDINGS
    artifacts.save_token_weights(context.output, weights)
    artifacts.write_json(findings, {"masks": learnt.masks, "token_types": by_type, "history": learnt.history})
    if not config.accept_uninformative:
        # The checkpoint stays: accepting these weights afterwards then costs no second training.
        check_beats_random(learnt.masks, findings)
    if not learnt.masks["beats_random"]:
        context.progress.note(
            "WARNING: these token weights beat no random mask on held-out rationales; they were accepted."
        )
    (context.output / CHECKPOINT).unlink(missing_ok=True)

    return {
        "num_tokens": int(weights.offsets[-1]),
        "mean_token_weight": round(float(weights.token_weight.mean()), 4),
        "masks": learnt.masks,
        "token_types": by_type,
    }
