"""Checkpoints that survive a kill: marked when complete, pruned to the newest and the best, found again after a move."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kpodx import artifacts
from kpodx.errors import RunError

logger = logging.getLogger(__name__)

COMPLETE = "complete.json"
TRAINER_STATE = "trainer_state.json"


class CheckpointKeeper(TrainerCallback):  # type: ignore[misc]
    """Saves after the last update too, marks a checkpoint after its last file is on disk, and keeps only the newest and the best.

    The Trainer's own pruning would delete older checkpoints before the new one is known to be complete.
    """

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Let the state after the last update be judged and saved, whatever the interval."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = args.eval_strategy != "no"
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Mark the checkpoint from the main process, when every process has written its part."""
        PartialState().wait_for_everyone()
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir)
        newest = folder / f"checkpoint-{state.global_step}"
        for path in newest.rglob("*"):
            _flush(path)
        marker = {"update": state.global_step, "epoch": state.epoch, "num_processes": PartialState().num_processes}
        artifacts.write_json(newest / COMPLETE, marker)
        best = state.best_model_checkpoint
        keep = {newest.name, *([] if best is None else [Path(best).name])}
        for path in _checkpoints(folder):
            if path.name not in keep:
                _remove(path)


def _flush(path: Path) -> None:
    """Force a file or folder to disk: a marker that outlives a power cut must not stand beside a cut-off file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checkpoints(folder: Path) -> list[Path]:
    """All checkpoint folders, complete or not, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.rsplit("-", 1)[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))


def _remove(path: Path) -> None:
    """Delete a checkpoint, its marker first, so that a kill on the way leaves none that looks complete."""
    (path / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(path)


def resumable_checkpoint(folder: Path, *, num_processes: int = 1) -> Path | None:
    """The newest complete checkpoint below `folder`, None where there is none.

    Half-written ones are removed by the main process. The path of the best checkpoint inside the state is made to point here again,
    for the run folder may have moved.

    Args:
        folder: of the checkpoints.
        num_processes: processes that train now.

    Raises:
        RunError: the checkpoint was written by another number of processes, or its best one is gone.
    """
    state = PartialState()
    if state.is_main_process:
        for path in _checkpoints(folder):
            if not (path / COMPLETE).exists():
                logger.warning("%s is incomplete and is removed.", path)
                _remove(path)
    state.wait_for_everyone()
    complete = _checkpoints(folder)
    if not complete:
        return None
    newest = complete[-1]
    before = artifacts.read_json(newest / COMPLETE)["num_processes"]
    if before != num_processes:
        raise RunError(
            f"{newest} was written by {before} processes, and {num_processes} train now: they would make other updates.",
            hint=f"Launch {before} processes again, or start over with `--force distillation`.",
        )
    if state.is_main_process:
        _point_to_best(newest)
    state.wait_for_everyone()
    return newest


def _point_to_best(checkpoint: Path) -> None:
    content = artifacts.read_json(checkpoint / TRAINER_STATE)
    if content["best_model_checkpoint"] is None:
        return
    best = checkpoint.parent / Path(content["best_model_checkpoint"]).name
    if not (best / COMPLETE).exists():
        raise RunError(
            f"{checkpoint} names {best.name} as the best so far, but it is not in {best.parent}.",
            hint="Start over with `--force distillation`.",
        )
    if content["best_model_checkpoint"] != str(best):
        artifacts.write_json(checkpoint / TRAINER_STATE, {**content, "best_model_checkpoint": str(best)})
