"""A 64-bit Arm machine in a folder, for programs that run under qemu-user: Debian's files, PyPI's wheels, llama.cpp cross-compiled.

No root rights are needed, and nothing outside the folder changes. Every part is kept and made again only where what it is made from
has changed; a part that was killed half-way is begun again, except for the compilation, which goes on.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kpodx.export.parity import died_of

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
DEBIAN = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
ONNX_WHEELS = ("onnxruntime", "tokenizers", "numpy")
LLAMA_WHEELS = ("numpy", "typing-extensions", "diskcache", "jinja2")
"""What llama-cpp-python imports."""
KPODX_WHEELS = ("numpy", "pydantic")
"""What `kpodx.export.divergence` imports."""
OLDEST_GLIBC = 17
"""Wheels are marked with the oldest glibc that they run with; none for Arm is marked with an older one than 2.17."""
MADE_FROM = ".made-from"
TOOLS = {
    "qemu-aarch64-static": "qemu-user-static",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "tar": "tar",
    "cmake": "cmake",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
}
"""Programs, and Debian's packages that bring them."""


class ArmError(Exception):
    """Something is missing, or a program failed; the message tells what to do."""


@dataclass(frozen=True)
class Cpu:
    """A processor.

    Attributes:
        name: as qemu calls it.
        device: where it is found.
        implementer, variant, part, revision: of its main ID register, as /proc/cpuinfo tells them.
        architecture: the instructions that llama.cpp is compiled for, as a build on the device would be.
    """

    name: str
    device: str
    implementer: int
    variant: int
    part: int
    revision: int
    architecture: str

    def cpuinfo(self) -> str:
        """The device's /proc/cpuinfo, with one core. Features are not told: programs ask the kernel, which is qemu, for them."""
        lines = {
            "processor": 0,
            "CPU implementer": f"{self.implementer:#04x}",
            "CPU architecture": 8,
            "CPU variant": f"{self.variant:#x}",
            "CPU part": f"{self.part:#05x}",
            "CPU revision": self.revision,
        }
        return "".join(f"{name}\t: {value}\n" for name, value in lines.items()) + "\n"


CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu("cortex-a72", "Raspberry Pi 4: no dot products", 0x41, 0, 0xD08, 3, "armv8-a"),
        Cpu("cortex-a76", "Raspberry Pi 5: dot products", 0x41, 4, 0xD0B, 1, "armv8.2-a+dotprod+fp16"),
        # qemu's own numbers.
        Cpu("max", "all that qemu knows: 8-bit matrix products, too", 0, 0, 0x051, 0, "armv8.6-a+dotprod+fp16"),
    )
}


@dataclass(frozen=True)
class Arm:
    """Where the parts lie.

    Attributes:
        work: folder of all of it, absolute.
        sources: apt's list of a mirror that has arm64; the machine's own mirrors where it is None.
        jobs: compilers that run at a time.
        tell: where a line goes before something that takes long.
    """

    work: Path
    sources: Path | None
    jobs: int
    tell: Callable[[str], None]

    def python(self, cpu: Cpu, kind: str, *, with_kpodx: bool = False) -> Path:
        """A program that is Python on a processor, with what packages of a kind (onnx, gguf) need, and kpodx's export if asked for.

        Nothing of this machine's Python gets in. Where a package starts its `sys.executable`, it starts this program again.
        """
        command = self._command(cpu)
        paths = [self._llama(cpu), self._wheels(LLAMA_WHEELS)] if kind == "gguf" else [self._wheels(ONNX_WHEELS)]
        if with_kpodx:
            paths += [self._wheels(KPODX_WHEELS), CONSTRAINTS.parent]
        target = self.work / f"{cpu.name}-{kind}{'-kpodx' if with_kpodx else ''}"
        environment = self._plain() | {"PYTHONPATH": os.pathsep.join(map(str, (target, *paths)))}
        words = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *command]
        script = f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'

        def make(folder: Path) -> None:
            (folder / "python").write_text(script, encoding="utf-8")
            (folder / "python").chmod(0o755)
            # This machine's kernel starts no program of Arm's, but qemu lets it start a script.
            told = f"import sys\n\nsys.executable = {str(target / 'python')!r}\n"
            (folder / "sitecustomize.py").write_text(told, encoding="utf-8")

        return made(target, script, make) / "python"

    def _command(self, cpu: Cpu) -> list[str]:
        """What runs Python on a processor; arguments follow."""
        qemu, machine = tool("qemu-aarch64-static"), self._machine(cpu)
        python = (self._system() / "usr/bin/python3").readlink().name
        return [qemu, "-cpu", cpu.name, "-L", str(machine), str(machine / "usr/bin" / python)]

    def _wheels(self, names: Sequence[str]) -> Path:
        """Folder of packages from PyPI, in the tested versions."""
        python, glibc = self._versions()
        inputs = f"{' '.join(names)} for Python {python}, glibc {glibc}\n{CONSTRAINTS.read_text(encoding='utf-8')}"

        def make(folder: Path) -> None:
            self.tell(f"Fetching {', '.join(names)} for Arm")
            tags = [f"manylinux_2_{minor}_aarch64" for minor in range(glibc, OLDEST_GLIBC - 1, -1)]
            options = [item for tag in (*tags, "manylinux2014_aarch64") for item in ("--platform", tag)]
            options += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--no-compile"]
            pip("install", "--target", str(folder), *options, *names)

        return made(self.work / f"wheels-{names[0]}-{len(names)}", inputs, make)

    def _llama(self, cpu: Cpu) -> Path:
        """Folder of llama-cpp-python, compiled for a processor."""
        for compiler in ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "cmake"):
            tool(compiler)
        source = self._llama_source()
        version = source.name.rpartition("-")[2]

        def make(folder: Path) -> None:
            self.tell(f"Compiling llama.cpp {version} for {cpu.architecture}, which takes some minutes")
            libraries = self._compile(source / "vendor" / "llama.cpp", version, cpu.architecture)
            shutil.copytree(source / "llama_cpp", folder / "llama_cpp")
            (folder / "llama_cpp" / "lib").mkdir(exist_ok=True)
            for library in libraries:
                shutil.copy2(library, folder / "llama_cpp" / "lib" / library.name, follow_symlinks=False)

        return made(self.work / f"llama-{cpu.architecture}", f"{version} {cpu.architecture}", make)

    def _compile(self, source: Path, version: str, architecture: str) -> list[Path]:
        """llama.cpp's libraries. One folder serves all processors: only what depends on them is compiled again."""
        build = self.work / f"llama-{version}-build"
        options = {
            "CMAKE_SYSTEM_NAME": "Linux",
            "CMAKE_SYSTEM_PROCESSOR": "aarch64",
            "CMAKE_C_COMPILER": tool("aarch64-linux-gnu-gcc"),
            "CMAKE_CXX_COMPILER": tool("aarch64-linux-gnu-g++"),
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
            "CMAKE_INSTALL_RPATH": "$ORIGIN",
            "BUILD_SHARED_LIBS": "ON",
            "GGML_NATIVE": "OFF",
            # Its library would be one more to bring along.
            "GGML_OPENMP": "OFF",
            "GGML_CPU_ARM_ARCH": architecture,
            **dict.fromkeys((f"LLAMA_BUILD_{part}" for part in ("COMMON", "TESTS", "TOOLS", "EXAMPLES")), "OFF"),
        }
        cmake = tool("cmake")
        run([cmake, "-S", str(source), "-B", str(build), *(f"-D{name}={value}" for name, value in options.items())])
        run(["nice", "-n", "19", cmake, "--build", str(build), "--target", "llama", "--parallel", str(self.jobs)])
        return sorted((build / "bin").glob("*.so*"))

    def _llama_source(self) -> Path:
        """llama-cpp-python's sources, in the tested version."""
        lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
        wanted = next(line for line in lines if line.startswith("llama-cpp-python=="))

        def make(folder: Path) -> None:
            self.tell(f"Fetching the sources of {wanted}")
            pip("download", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(folder), wanted)
            (archive,) = folder.glob("*.tar.gz")
            with tarfile.open(archive) as stream:
                stream.extractall(folder, filter="data")
            archive.unlink()

        (source,) = made(self.work / "llama-source", wanted, make).glob("llama_cpp_python-*")
        return source

    def _machine(self, cpu: Cpu) -> Path:
        """What a processor's programs see below /; qemu looks there first, and in the machine's own / for what is missing.

        ONNX Runtime's import dies of SIGSEGV where /proc/cpuinfo tells of an x86 processor.
        """
        system = self._system()

        def make(folder: Path) -> None:
            for name in ("lib", "usr"):
                (folder / name).symlink_to(os.path.relpath(system / name, self.work / cpu.name))
            (folder / "proc").mkdir()
            (folder / "proc" / "cpuinfo").write_text(cpu.cpuinfo(), encoding="ascii")
            listed = folder / "sys" / "devices" / "system" / "cpu"
            listed.mkdir(parents=True)
            for name in ("possible", "present"):
                (listed / name).write_text("0\n", encoding="ascii")

        return made(self.work / cpu.name, cpu.cpuinfo(), make)

    def _system(self) -> Path:
        """Debian's files: the C library and Python, as this machine's release has them."""
        listed = self.sources.read_text(encoding="utf-8") if self.sources else ""

        def make(folder: Path) -> None:
            self.tell("Fetching Python and the C library for Arm")
            (folder / "usr" / "lib").mkdir(parents=True)
            # Old releases have files below both names.
            (folder / "lib").symlink_to("usr/lib")
            for package in self._fetch_debian():
                files = subprocess.Popen([tool("dpkg-deb"), "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
                run([tool("tar"), "-x", "--keep-directory-symlink", "-C", str(folder)], stdin=files.stdout)
                if files.wait() != 0:
                    raise ArmError(f"dpkg-deb cannot read {package.name}; run again to fetch it anew.")

        return made(self.work / "system", f"{' '.join(DEBIAN)}\n{listed}", make)

    def _fetch_debian(self) -> list[Path]:
        """Packages for arm64 with all that they depend on, through an apt whose state lies in a folder of its own."""
        state = self.work / "apt"
        shutil.rmtree(state, ignore_errors=True)
        for name in ("lists/partial", "cache/archives/partial"):
            (state / name).mkdir(parents=True)
        (state / "status").touch()
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
            "Dir::State": str(state),
            "Dir::State::status": str(state / "status"),
            "Dir::Cache": str(state / "cache"),
        }
        if self.sources:
            settings |= {"Dir::Etc::sourcelist": str(self.sources.resolve()), "Dir::Etc::sourceparts": "/dev/null"}
        configuration = state / "apt.conf"
        configuration.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()), encoding="utf-8")
        environment = {**os.environ, "APT_CONFIG": str(configuration)}
        try:
            run([tool("apt-get"), "-q", "update"], env=environment)
            install = ["install", "--download-only", "--yes", "--no-install-recommends"]
            run([tool("apt-get"), "-q", *install, *DEBIAN], env=environment)
        except ArmError as error:
            hint = "Ubuntu's are elsewhere: name a list of theirs with --apt-sources"
            raise ArmError(f"apt finds no packages for arm64 on this machine's mirrors. {hint}.\n{error}") from None
        return sorted((state / "cache" / "archives").glob("*.deb"))

    def _versions(self) -> tuple[str, int]:
        """Python's version, such as 3.11, and the minor one of glibc 2."""
        words = "import platform, sys; print('%d.%d' % sys.version_info[:2], platform.libc_ver()[1])"
        said = run([*self._command(next(iter(CPUS.values()))), "-c", words], env=self._plain())
        python, glibc = said.split()
        return python, int(glibc.split(".")[1])

    def _plain(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.work), "LC_ALL": "C.UTF-8", "PYTHONNOUSERSITE": "1"}


def made(folder: Path, inputs: str, make: Callable[[Path], None]) -> Path:
    """The folder, filled by `make` unless it was made from the same inputs before; it is whole, or not there."""
    stamp = folder / MADE_FROM
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == inputs:
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    for stale in (folder, partial):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    (partial / MADE_FROM).write_text(inputs, encoding="utf-8")
    partial.rename(folder)
    return folder


def tool(name: str) -> str:
    """The path of a program; ArmError names the package to install."""
    found = shutil.which(name)
    if not found:
        raise ArmError(f"There is no {name}: apt-get install {TOOLS[name]}")
    return found


def pip(*arguments: str) -> None:
    """Run pip with its own settings and our constraints."""
    run([sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check", "-c", str(CONSTRAINTS)])


def run(command: Sequence[str], env: Mapping[str, str] | None = None, stdin: object = None) -> str:
    """What a program prints; ArmError with its last lines where it fails."""
    done = subprocess.run(
        command, env=env, stdin=stdin, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode != 0:
        last = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-12:])
        raise ArmError(f"{' '.join(command[:4])} …: {died_of(done.returncode)}\n{last}")
    return str(done.stdout)
