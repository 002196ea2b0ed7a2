"""A small finished run, written by hand: figures that can be worked out on paper. No torch, no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from kpodx import artifacts
from kpodx.modeling.token_spans import backend_hash, token_spans
from kpodx.phase_folders import finish
from kpodx.schema import Prediction, Question, Rationale, Schedule, Split, StepDifficulties, TokenWeights

PHASES = ("dataset", "rationales", "weighting", "difficulty", "curriculum", "distillation", "evaluation")
TEXTS = ("Tom has 3.", "Tom has 2. He gets 5.", "Ann has 4. She loses 1.")
DIFFICULTIES = ([1.0], [0.5, 1.5], [2.0, 4.0])
INPUT_STEPS = [[1, 0], [1, 1], [2, 0]]


def tokenizer() -> Tokenizer:
    """Whole words, digits and points."""
    words = [*dict.fromkeys(" ".join(TEXTS).replace(".", " .").split()), "a", "box", "?"]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return backend


def accuracy(right: int, asked: int, **more: Any) -> dict[str, Any]:
    """An accuracy with made-up ends."""
    share = right / asked
    return {"accuracy": share, "low": share / 2, "high": (1 + share) / 2, "n": asked, **more}


def make_run(folder: Path, *phases: str, text: str = "", name: str = "hand-made", **manifest: Any) -> Path:
    """A run folder with the finished phases named (all by default).

    Args:
        folder: where.
        phases: those that are finished.
        text: of the first question; a harmless one by default.
        name: of the recipe.
        manifest: what is different in the manifest.
    """
    done = phases or PHASES
    summaries = {phase: globals()[f"_{phase}"](folder / phase / "a1", text) for phase in done}
    entries = {}
    for phase, summary in summaries.items():
        finish(
            folder / phase / "a1",
            phase=phase,
            version=1,
            fingerprint="a1" * 32,
            inputs={},
            seconds=2.5,
            resumed=False,
            summary=summary,
        )
        entries[phase] = {
            "folder": f"{phase}/a1",
            "fingerprint": "a1" * 32,
            "seconds": 2.5,
            "cached": False,
            "created": "2026-01-01",
        }
    recipe = {
        "name": name,
        "description": "Sums",
        "seed": 7,
        "student": {"model": "/secret/place/models/tiny", "revision": None},
        "dataset": {"format": "gsm8k", "files": {"train": "/secret/place/train.jsonl"}, "hub": None},
        "rationales": {"teacher": "gold", "teacher_name": None},
        "weighting": {"warmup_updates": 10, "random_mask_updates": 10, "mask_updates": 20, "target_keep_share": 0.4},
        "distillation": {"method": "kpod", "max_validation_questions": None},
        "evaluation": {"confidence": 0.95},
    }
    document = {
        "kpodx": "0.1.0",
        "format": 1,
        "state": "finished" if done == PHASES else "partial",
        "recipe_name": name,
        "recipe": recipe,
        "sources": {"seed": "command line", "dataset.files": "/secret/place/recipe.toml:4", "student.model": "default"},
        "seeds": {"weighting": 11},
        "inputs": {"/secret/place/models/tiny": "b" * 64},
        "plan": [{"name": phase, "folder": f"{phase}/a1", "fingerprint": "a1" * 32, "reads": []} for phase in PHASES],
        "phases": entries,
        "process": {"pid": 1, "host": "secret-host"},
        "packages": {"torch": "2.0", "numpy": None},
        **manifest,
    }
    artifacts.write_json(folder / "manifest.json", document)
    return folder


def _dataset(folder: Path, text: str) -> dict[str, object]:
    splits = [Split.TRAIN] * 3 + [Split.VALIDATION] * 4 + [Split.TEST] * 2
    questions = [Question(f"q{n}", split, f"How many, {n}?", str(n), num_steps=2) for n, split in enumerate(splits)]
    if text:
        questions[0] = Question("q0", Split.TRAIN, text, "0", num_steps=2)
    artifacts.save_questions(folder, questions)
    return {"questions": {"train": 3, "validation": 4, "test": 2}, "num_steps": {"train": {"2": 3}, "test": {"2": 2}}}


def _rationales(folder: Path, _text: str) -> dict[str, object]:
    artifacts.save_rationales(
        folder, [Rationale(f"r{n}", f"q{n}", text, str(n), "a person") for n, text in enumerate(TEXTS)]
    )
    return {"completions": 5, "kept": 3, "rejected": {"wrong_answer": 2}}


def _weighting(folder: Path, _text: str) -> dict[str, object]:
    backend = tokenizer()
    counts = [len(token_spans(backend, text)) for text in TEXTS]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    weights = np.linspace(0.1, 0.9, int(offsets[-1]), dtype=np.float32)
    artifacts.save_token_weights(folder, TokenWeights(("r0", "r1", "r2"), offsets, weights, backend_hash(backend)))
    kinds = {"digit": {"mean": 0.75, "count": 5}, "function_word": {"mean": 0.25, "count": 9}}
    reading = {"whole_nll": 1.5, "whole_accuracy": 0.5, "prefix_nll": 2.5, "keep_share": 0.4}
    masks = {"learnt": reading, "random": reading, "beats_random": False}
    history = [
        {"update": 9.0, "loss": 0.5, "answer_nll": 0.5},
        {"update": 39.0, "loss": 2.0, "answer_nll": 1.25, "answer_nll_learnt_mask": 1.5, "keep_share": 0.5},
    ]
    artifacts.write_json(
        folder / artifacts.FINDINGS,
        {"masks": masks, "token_types": {**kinds, "keypoints_over_function_words": 0.875}, "history": history},
    )
    return {"num_tokens": int(offsets[-1]), "mean_token_weight": 0.5, "token_types": kinds}


def _difficulty(folder: Path, _text: str) -> dict[str, object]:
    offsets = np.array([0, 1, 3, 5])
    values = np.concatenate([np.array(part) for part in DIFFICULTIES])
    artifacts.save_step_difficulties(
        folder, StepDifficulties(("r0", "r1", "r2"), offsets, values, np.array([4, 4, 8, 4, 8]))
    )
    return {"num_steps": 5, "mean_step_difficulty": 1.8}


def _curriculum(folder: Path, _text: str) -> dict[str, object]:
    columns = np.array(INPUT_STEPS, dtype=np.int16)
    artifacts.save_schedule(folder, Schedule(("r0", "r1", "r2"), columns, np.array([0.5, 1.0]), np.array([0.4, 0.9])))
    stages = [
        {"stage": 0, "planned": 0.5, "done": 0.4, "selected": 3, "share_released": 0.0, "mean_input_steps": 4 / 3},
        {"stage": 1, "planned": 1.0, "done": 0.9, "selected": 2, "share_released": 2 / 3, "mean_input_steps": 1 / 3},
    ]
    artifacts.write_json(folder / artifacts.STAGES, stages)
    return {"strategy": "kpod", "num_steps": 5, "total_difficulty": 9.0, "full_stage": 1}


def _distillation(folder: Path, _text: str) -> dict[str, object]:
    tokenizer_file = folder / artifacts.STUDENT / "tokenizer.json"
    tokenizer_file.parent.mkdir(parents=True)
    tokenizer().save(str(tokenizer_file))
    (tokenizer_file.parent / "model.safetensors").write_bytes(b"parameters")
    log = [
        {"loss": 3.0, "epoch": 0.5, "step": 5},
        {"loss": 1.0, "epoch": 1.0, "step": 10},
        {"eval_accuracy": 0.25, "epoch": 1.0, "step": 10},
        {"loss": 0.5, "epoch": 2.0, "step": 20},
        {"eval_accuracy": 0.75, "epoch": 2.0, "step": 20},
        {"loss": 0.25, "epoch": 3.0, "step": 30},
        {"train_loss": 1.1875, "epoch": 3.0, "step": 30},
    ]
    artifacts.write_jsonl(folder / artifacts.TRAINING_LOG, log)
    return {
        "method": "kpod",
        "updates": 30,
        "target_tokens": 1234,
        "training_seconds": 75.0,
        "chosen_by": "validation accuracy",
        "best_validation_accuracy": 0.75,
        "best_checkpoint_update": 20,
        "trainable_parameters": 4321,
    }


def _evaluation(folder: Path, _text: str) -> dict[str, object]:
    artifacts.save_predictions(folder, [Prediction("q7", "7", "7", True, 2)], "predictions-test.jsonl")
    return {
        "validation": accuracy(3, 4, unreadable=0.0, by_steps={"2": accuracy(3, 4)}),
        "test": accuracy(1, 2, unreadable=0.5, by_steps={"2": accuracy(1, 2), "12": accuracy(0, 1)}),
    }


def add_package(run: Path, name: str = "pi", *models: dict[str, Any], evaluated: bool = True, more: str = "") -> Path:
    """A package of a run, with the result of its evaluation; `more` is the quantisation of a model that was not evaluated."""
    found = models or (model("q4", "undecided", 1, 3, 0.5, 90.0), model("q8", "held", 0, 0, 0.9, 80.0))
    named = [{"name": entry["name"], "quantization": entry["quantization"], "size": 2**20} for entry in found]
    named += [{"name": f"onnx/{more}.onnx", "quantization": more, "size": 2**21}] if more else []
    manifest = run / "export" / name / "package.json"
    profile = {"name": "small board", "memory_mib": 100}
    artifacts.write_json(
        manifest,
        {"kind": "onnx", "name": "tiny", "models": named, "origin": {"distillation": "a1"}, "profile": profile},
    )
    result = {
        "format": 1,
        "created": "2026-01-02",
        "package": {"name": "tiny", "kind": "onnx", "sha256": artifacts.hash_path(manifest)},
        "questions": {"name": "hand-made, test", "n": 200, "sha256": "c" * 64},
        "margin": 0.02,
        "confidence": 0.95,
        "least_questions": 133,
        "machine": {"processor": "A board", "architecture": "arm", "cores": 4, "memory_mib": 999},
        "device": {"threads": 2, "memory_mib": 100},
        "student": accuracy(180, 200, by_steps={"2": accuracy(180, 200)}),
        "models": list(found),
    }
    if evaluated:
        artifacts.write_json(run / "acceptance" / name / "result.json", result)
        flip = {"question_id": "q7", "by": "student", "step": 0, "expected": "1 + 1 = 2.", "got": ""}
        artifacts.write_jsonl(run / "acceptance" / name / "flips-q4-1.jsonl", [flip, {**flip, "by": "package"}])
    return run / "acceptance" / name / "result.json"


def model(quantization: str, word: str, gained: int, lost: int, size: float, speed: float) -> dict[str, Any]:
    """A model of a result, as `kpodx evaluate` writes it."""

    def spread(value: float) -> dict[str, float]:
        return {"p50": value, "p95": 2 * value, "min": value / 2, "max": 3 * value}

    difference = (gained - lost) / 200
    return {
        "name": f"onnx/{quantization}.onnx",
        "quantization": quantization,
        "ending": "finished",
        "cost": {
            "ending": "finished",
            "error": "",
            "peak_mib": 64.0,
            "size_mib": size,
            "answers": 20,
            "energy_joules_per_answer": None,
            "start_seconds": 0.5,
            "first_token_ms": spread(4.0),
            "answer_ms": spread(30.0),
            "tokens_per_second": spread(speed),
        },
        "budgets": [{"budget": "memory_mib", "limit": 100, "measured": 64.0, "held": True}],
        "accuracy": accuracy(180 + gained - lost, 200, by_steps={"2": accuracy(180 + gained - lost, 200)}),
        "verdict": {
            "word": word,
            "questions": 200,
            "difference": difference,
            "low": difference - 0.02,
            "high": difference + 0.02,
            "margin": 0.02,
            "gained": gained,
            "lost": lost,
            "p_value": 0.625,
            "more_questions": 1500 if word == "undecided" else None,
        },
        "first_wrong_step": {"0": lost},
        "flips": f"flips-{quantization}-1.jsonl",
    }


def over_memory(quantization: str) -> dict[str, Any]:
    """A model that was ended because it took too much memory: nothing was timed or judged."""
    cost = {
        "ending": "over memory",
        "error": "",
        "peak_mib": 120.0,
        "size_mib": 0.5,
        "answers": 0,
        "energy_joules_per_answer": None,
    }
    budgets = [
        {"budget": "memory_mib", "limit": 100, "measured": 120.0, "held": False},
        {"budget": "tokens_per_second", "limit": 9, "measured": None, "held": None},
    ]
    found = {
        "name": f"onnx/{quantization}.onnx",
        "quantization": quantization,
        "files": {},
        "cost": cost,
        "budgets": budgets,
    }
    return found | {"ending": "over memory", "error": "more than 100 MiB", "verdict": None}
