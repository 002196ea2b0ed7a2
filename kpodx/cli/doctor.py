"""`kpodx doctor`: what is installed, and what this machine has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

import kpodx
from kpodx.cli import terminal

EXTRAS = {
    "onnx": ("onnx", "onnxruntime", "optimum-onnx"),
    "gguf": ("gguf", "llama-cpp-python"),
    "openai": ("openai", "tenacity"),
    "serve": ("fastapi", "uvicorn"),
    "math": ("math-verify",),
    "tracking": ("tensorboard",),
}


def doctor(json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False) -> None:
    """Show versions, devices, free memory and disk, and which optional extras are installed."""
    findings = {**_versions(), **_machine(), **_device(), **_extras()}
    if json:
        terminal.print_json(findings)
    else:
        terminal.print_table("", ("what", "found"), list(findings.items()))


def _versions() -> dict[str, str]:
    import platform

    from kpodx.runs import RECORDED_PACKAGES, installed_versions

    found = {name: version or "not installed" for name, version in installed_versions(RECORDED_PACKAGES).items()}
    return {"kpodx": kpodx.__version__, "python": platform.python_version(), "platform": platform.platform()} | found


def _machine() -> dict[str, str]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    found = {"cpu cores": str(len(os.sched_getaffinity(0))), "free disk here": f"{free:.1f} GiB"}
    memory = Path("/proc/meminfo")
    if memory.is_file():
        fields = dict(line.split(":", 1) for line in memory.read_text().splitlines())
        found["free memory"] = f"{int(fields['MemAvailable'].split()[0]) / 2**20:.1f} GiB"
    return found


def _device() -> dict[str, str]:
    import torch

    if not torch.cuda.is_available():
        return {"gpu": "none that torch can use", "torch threads": str(torch.get_num_threads())}
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {"gpu": ", ".join(names), "bfloat16 on gpu": "yes" if torch.cuda.is_bf16_supported() else "no"}


def _extras() -> dict[str, str]:
    from importlib import metadata

    installed = {name.lower() for dist in metadata.distributions() if (name := dist.metadata["Name"])}
    found = {}
    for extra, packages in EXTRAS.items():
        missing = [package for package in packages if package not in installed]
        found[f"extra {extra}"] = (
            "installed" if not missing else f"lacks {', '.join(missing)}: pip install 'kpodx[{extra}]'"
        )
    return found
