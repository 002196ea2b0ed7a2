"""Profiles: for a kind of device, what to export, how to run it, and what it may cost there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from kpodx.config import Config, describe_problems, nearest, shipped
from kpodx.errors import ConfigError, UsageError
from kpodx.export.manifest import QUANTIZATIONS
from kpodx.layers import load_toml, merge


class Profile(Config):
    """What a device is given, and its budgets."""

    description: str = Field(min_length=1)
    """The device, in a line."""
    format: Literal["gguf", "onnx"]
    """Format of the package."""
    quantizations: tuple[str, ...] = Field(min_length=1)
    """What is exported; the first is what run.py takes."""
    threads: int = Field(ge=1)
    """CPU threads of run.py."""
    context_tokens: int = Field(ge=16)
    """Most tokens of prompt and answer of run.py."""
    memory_mib: int = Field(ge=1)
    """Budget: peak resident memory of run.py, in MiB."""
    size_mib: int = Field(ge=1)
    """Budget: the files of one model, in MiB."""
    first_token_ms: int = Field(ge=1)
    """Budget: time to the first token (median), in milliseconds."""
    tokens_per_second: float = Field(gt=0)
    """Budget: least speed of an answer (median), in tokens a second."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = [name for name in self.quantizations if name not in QUANTIZATIONS[self.format]]
        if unknown:
            raise ValueError(f"expected {', '.join(QUANTIZATIONS[self.format])} for {self.format}, got {unknown[0]!r}")
        return self


def profile_names() -> list[str]:
    """The profiles that ship."""
    return sorted(path.stem for path in (shipped("export") / "profiles").glob("*.toml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by its name, or one of your own by its path.

    Raises:
        UsageError: there is no such profile.
        ConfigError: it has mistakes; all are named, with their lines.
    """
    path = Path(name) if name.endswith(".toml") else shipped("export") / "profiles" / f"{name}.toml"
    if not path.is_file():
        guess = nearest(name, profile_names())
        known = ", ".join(profile_names())
        raise UsageError(
            f"There is no profile {name}.", hint=f"Did you mean {guess}?" if guess else f"There are {known}."
        )
    layers = merge(load_toml(path))
    try:
        return Profile.model_validate(layers.values)
    except ValidationError as error:
        lines = describe_problems(error, Profile, layers.sources)
        raise ConfigError("\n  - ".join([f"{path} has mistakes:", *lines])) from error
