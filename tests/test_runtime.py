"""Devices, number formats and seeds: what is not there is said, never replaced in silence."""

from __future__ import annotations

import pytest
import torch

from kpodx.errors import DeviceError
from kpodx.runtime import derive_seed, resolve_device, resolve_dtype


def test_cuda_where_there_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA GPU") as caught:
        resolve_device("cuda")
    assert (caught.value.exit_code, "runtime.device=cpu" in (caught.value.hint or "")) == (2, True)
    assert resolve_device("auto") == torch.device("cpu")


def test_number_formats_on_a_cpu() -> None:
    cpu = torch.device("cpu")
    assert resolve_dtype("auto", cpu) is torch.float32
    assert resolve_dtype("bfloat16", cpu) is torch.bfloat16


def test_a_gpu_without_bfloat16_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(DeviceError, match="bfloat16"):
        resolve_dtype("bfloat16", torch.device("cuda"))


def test_seeds_differ_by_each_part_and_its_place() -> None:
    seeds = {derive_seed("a", 0), derive_seed("a", 1), derive_seed("b", 0), derive_seed("a0"), derive_seed(0, "a")}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**31 for seed in seeds)
