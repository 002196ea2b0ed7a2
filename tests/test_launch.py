"""Which of several processes this is, and waiting for the one that owns the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpodx.errors import RunError, UsageError
from kpodx.launch import Launch, wait_for
from kpodx.runs import open_run


def test_the_environment_says_which_process_this_is() -> None:
    assert Launch.from_environment({}) == Launch(0, 1)
    assert not Launch.from_environment({"RANK": "1"}).follows, "one process alone"
    assert not Launch.from_environment({"RANK": "0", "WORLD_SIZE": "2"}).follows
    assert Launch.from_environment({"RANK": "1", "WORLD_SIZE": "2"}).follows
    with pytest.raises(UsageError, match="RANK is 'x', expected a whole number"):
        Launch.from_environment({"RANK": "x"})


def test_waiting_ends_when_the_owner_says_so(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.manifest["plan"] = ["dataset"]
        run.save()
        assert wait_for(tmp_path, lambda seen: seen.get("plan"), poll_seconds=0.01) == ["dataset"]


def test_an_old_manifest_without_an_owner_is_not_believed(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.manifest["plan"] = ["dataset"]
        run.save()
    with pytest.raises(RunError, match=r"did not open .* within 0 s"):
        wait_for(tmp_path, lambda seen: seen.get("plan"), poll_seconds=0.01, start_seconds=0.05)
