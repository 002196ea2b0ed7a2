"""Profiles: those that ship are read by this walk of their folder, and mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from exporting import RUNNERS

from kpodx.errors import ConfigError, UsageError
from kpodx.export.manifest import QUANTIZATIONS
from kpodx.export.profiles import load_profile, profile_names

FOLDER = RUNNERS.parent / "profiles"


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.stem)
def test_a_shipped_profile_is_valid(path: Path) -> None:
    profile = load_profile(path.stem)
    assert path.suffix == ".toml"
    assert set(profile.quantizations) <= set(QUANTIZATIONS[profile.format])
    assert profile == load_profile(str(path))


def test_every_kind_of_device_has_one() -> None:
    assert profile_names() == ["android-mid-range", "browser", "desktop-x86", "raspberry-pi-4", "raspberry-pi-5"]


def test_mistakes_are_told_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no profile raspberry-pi-6") as caught:
        load_profile("raspberry-pi-6")
    assert caught.value.hint is not None
    assert "raspberry-pi-5" in caught.value.hint
    text = (FOLDER / "browser.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('["int8", "q4"]', '["Q8_0"]').replace("threads = 1", "threads = 0\nthread = 1"))
    with pytest.raises(ConfigError) as wrong:
        load_profile(str(mine))
    assert f"thread ({mine}:7): unknown key; did you mean 'threads'?" in wrong.value.message
    assert "threads" in wrong.value.message
    mine.write_text(text.replace('["int8", "q4"]', '["Q8_0"]'))
    with pytest.raises(ConfigError, match="expected f32, int8, q8, q4, mixed for onnx, got 'Q8_0'"):
        load_profile(str(mine))
