"""What each phase found, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kpodx.text.figures import percent


def headline(phase: str, summary: Mapping[str, Any]) -> str:
    """What a phase found, in one line; the first plain figures of its summary where there is nothing better to say."""
    find = _HEADLINES.get(phase)
    known = find(summary) if find else []
    plain = [
        f"{key.replace('_', ' ')} {_short(value)}"
        for key, value in summary.items()
        if isinstance(value, int | float | str)
    ]
    return " · ".join(known or plain[:5])


def _short(value: object) -> str:
    """A figure for people: whole numbers in groups of three, others with four digits that count."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _figures(summary: Mapping[str, Any], *formats: tuple[str, str]) -> list[str]:
    """ "{}" of each format filled with the value of its key, for keys that have one."""
    return [text.format(_short(summary[key])) for key, text in formats if summary.get(key) is not None]


def _dataset(summary: Mapping[str, Any]) -> list[str]:
    return [f"{count:,} {split}" for split, count in (summary.get("questions") or {}).items() if count]


def _rationales(summary: Mapping[str, Any]) -> list[str]:
    rejected = {reason.replace("_", " "): count for reason, count in (summary.get("rejected") or {}).items() if count}
    return [
        *filter(None, [" of ".join(_figures(summary, ("kept", "kept {}"), ("completions", "{}")))]),
        *(f"{reason} {_short(count)}" for reason, count in rejected.items()),
    ]


def _weighting(summary: Mapping[str, Any]) -> list[str]:
    types = summary.get("token_types") or {}
    kinds = {kind: value for kind, value in types.items() if isinstance(value, Mapping)}
    ranked = sorted(kinds.items(), key=lambda item: -item[1]["mean"])
    method = summary.get("method", "mask-learning")
    return [
        *([method] if method != "mask-learning" else []),
        *_figures(summary, ("mean_token_weight", "mean weight {}")),
        *(f"{kind.replace('_', ' ')} {value['mean']:.2f}" for kind, value in ranked),
        *_separation(types),
        *_known_keypoints(summary.get("known_keypoints") or {}),
        *_gain(summary.get("masks") or {}),
    ]


def _separation(types: Mapping[str, Any]) -> list[str]:
    """Return how surely digits and operators stand above all others, or above function words in runs that know no more."""
    others = (("keypoints_over_others", "all others"), ("keypoints_over_function_words", "function words"))
    return [f"digits and operators over {name} {types[key]:.2f}" for key, name in others if key in types][:1]


def _known_keypoints(found: Mapping[str, Any]) -> list[str]:
    """Return how weights go with marked keypoints, each figure beside that of the table of token types."""
    if not found:
        return []
    own, table = found["separation"], found["token_type_separation"]
    pairs = [("over_all", "marked keypoints over others"), ("among_numbers", "among numbers")]
    said = [f"{words} {own[key]:.2f} (by token type {table[key]:.2f})" for key, words in pairs if own[key] is not None]
    correlation = (found["frequency"] or {}).get("rank_correlation")
    return [*said, *([] if correlation is None else [f"keypoints' weight by frequency {correlation:+.2f}"])]


def _gain(masks: Mapping[str, Any]) -> list[str]:
    gain = masks.get("prefix_nll_under_random")
    return [] if gain is None else [f"held-out loss {-gain:+.2f} nats against a random mask"]


def _difficulty(summary: Mapping[str, Any]) -> list[str]:
    formats = (
        ("num_steps", "{} steps"),
        ("steps_per_rationale", "{} a rationale"),
        ("mean_step_difficulty", "mean {} nats"),
    )
    return _figures(summary, *formats)


def _curriculum(summary: Mapping[str, Any]) -> list[str]:
    return _figures(
        summary, ("strategy", "{}"), ("num_steps", "{} steps"), ("full_stage", "the whole budget from stage {}")
    )


def _distillation(summary: Mapping[str, Any]) -> list[str]:
    best = summary.get("best_validation_accuracy")
    validation = [] if best is None else [f"best validation {percent(best)} %"]
    return [
        *_figures(summary, ("method", "{}"), ("updates", "{} updates"), ("target_tokens", "{} target tokens")),
        *validation,
        *_remeasured(summary.get("remeasured_stages") or []),
    ]


def _remeasured(stages: Sequence[int]) -> list[str]:
    shown = ", ".join(map(str, stages))
    return [f"difficulties measured again before stage {shown}"] if stages else []


def _evaluation(summary: Mapping[str, Any]) -> list[str]:
    parts = {split: summary.get(split) or {} for split in ("validation", "test")}
    answered = [f"{split}: {part['n']:,} answered" for split, part in parts.items() if part]
    return [*answered, *_mimicry(summary.get("keypoint_mimicry") or {})]


def _mimicry(found: Mapping[str, Any]) -> list[str]:
    """Return the scores on keypoints of held-out rationales, and on all their other tokens."""
    if not found:
        return []
    scores = (("keypoints", found["on_keypoints"]), ("other tokens", found["on_others"]))
    return [
        f"{words} {score['nll']:.3f} nats, {percent(score['accuracy'])} % right"
        for words, score in scores
        if score["num_tokens"]
    ]


_HEADLINES: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "dataset": _dataset,
    "rationales": _rationales,
    "weighting": _weighting,
    "difficulty": _difficulty,
    "curriculum": _curriculum,
    "distillation": _distillation,
    "evaluation": _evaluation,
}
