"""A disk that is full, refuses or fails while a package is written: one error with a path and a hint, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from exporting import export
from faults import NUMBERS, Faults, listing

from kpodx.cli.export import _source
from kpodx.errors import KpodxError, StorageError
from kpodx.export.manifest import shipped_runner
from kpodx.export.parity import ask_package, measure_divergence
from kpodx.export.quantization import quantize

pytest.importorskip("gguf", reason="gguf is not installed")
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")


def test_an_export_survives_faults_from_its_first_to_its_last_operation(
    tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, folder = tmp_path / "packages", tmp_path / "packages" / "out"
    place.mkdir()
    faults = Faults(monkeypatch, place)
    export(tiny_t5, folder, "gguf", "f32", count=1)
    last = len(faults.done) - 1
    assert faults.done[last][0] == "rename"
    sound = set(listing(folder))
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink()
    folder.rmdir()
    for number, at in zip(NUMBERS, (0, 1, last // 2, last - 1, last), strict=True):
        faults.fail_at(at, number)
        with pytest.raises(StorageError) as caught:
            export(tiny_t5, folder, "gguf", "f32", count=1)
        assert str(folder) in caught.value.message
        assert caught.value.hint
        assert caught.value.exit_code == 1
        assert list(place.iterdir()) == [], (at, faults.done[at])
    faults.end()
    export(tiny_t5, folder, "gguf", "f32", count=1)
    assert set(listing(folder)) == sound


def test_a_source_that_is_nothing_is_one_error(tmp_path: Path) -> None:
    for name in ("x" * 5000, "none"):
        with pytest.raises((KpodxError, OSError)):
            _source(tmp_path / name, 1, "gguf")


def test_modules_of_the_current_directory_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "ran"
    for name in ("llama_cpp", "numpy", "command_line", "machine", "kpodx"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KpodxError):
        quantize(tmp_path / "x.gguf", tmp_path / "y.gguf", "Q8_0")
    with pytest.raises(KpodxError):
        ask_package(shipped_runner("gguf"), tmp_path / "x.gguf", ["x"], 1, 1)
    with pytest.raises(KpodxError):
        measure_divergence(shipped_runner("gguf"), tmp_path / "x.gguf", tmp_path / "none.npz", 1)
    assert not mark.exists()
