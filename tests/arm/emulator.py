"""An emulated ARM board: Debian's own arm packages in a folder, the real runtime wheels, and qemu-user to run them.

    python tests/arm/emulator.py arm64|armhf      builds .cache/arm/NAME once (about half a minute)

No root, chroot or binfmt_misc is needed: the packages are fetched with a private apt state and unpacked, the wheels are
chosen by pip for the other platform, and qemu redirects absolute paths into the folder. Numbers are those of the real
ARM kernels; times mean nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DEBIAN_PACKAGES: Final = ("python3-minimal", "libpython3-stdlib", "libstdc++6", "libgomp1", "zlib1g")

# What the device side of elsa-edge imports, and one runtime.
DEVICE_WHEELS: Final = (
    "numpy",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "typing-extensions",
    "PyYAML",
)
LITERT_WHEELS: Final = (
    "ai-edge-litert",
    "backports-strenum",
    "flatbuffers",
    "ml-dtypes",
    "protobuf",
    "tqdm",
    "packaging",
)

# qemu 7 hands the host's /proc/cpuinfo through; the runtimes' CPU detection then reads x86 text and crashes.
_CPUINFO_A72: Final = "".join(
    f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
    for core in range(4)
)
_CPUINFO_A76: Final = _CPUINFO_A72.replace("0xd08", "0xd0b").replace(
    "crc32", "crc32 atomics fphp asimdhp asimddp"
)
CPUINFO: Final = {"cortex-a72": _CPUINFO_A72, "cortex-a76": _CPUINFO_A76}


@dataclass(frozen=True)
class Board:
    """An architecture to emulate.

    Attributes:
        name: Debian's name of the architecture.
        qemu: The emulator's command.
        platforms: Wheel platform tags it accepts, best first.
        packages: Debian packages beside the common ones.
        wheels: What pip installs for it.
    """

    name: str
    qemu: str
    platforms: tuple[str, ...]
    packages: tuple[str, ...]
    wheels: tuple[str, ...]


BOARDS: Final = {
    "arm64": Board(
        "arm64",
        "qemu-aarch64-static",
        (
            "manylinux_2_28_aarch64",
            "manylinux_2_27_aarch64",
            "manylinux_2_26_aarch64",
            "manylinux_2_17_aarch64",
            "manylinux2014_aarch64",
        ),
        (),
        DEVICE_WHEELS + LITERT_WHEELS,
    ),
    # The last 32-bit wheel of the runtime needs numpy 1; Debian has it compiled. pydantic's has no armhf wheel beyond
    # 2_17, which is fine, and Debian's own is version 1.
    "armhf": Board(
        "armhf",
        "qemu-arm-static",
        ("manylinux_2_34_armv7l", "manylinux_2_31_armv7l", "manylinux_2_17_armv7l", "manylinux2014_armv7l"),
        ("python3-numpy", "python3-yaml"),
        (*(w for w in DEVICE_WHEELS if w not in {"numpy", "PyYAML"}), "tflite-runtime"),
    ),
}


def _run(command: Sequence[str | Path], **options: object) -> None:
    words = [str(part) for part in command]
    # The options are passed through as they are.
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _debian_root(board: Board, root: Path, work: Path) -> None:
    """Unpack the packages and all they depend on into `root`."""
    state = work / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial", "etc"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = [
        f"Dir::State={state}/state",
        f"Dir::State::status={state}/status",
        f"Dir::Cache={state}/cache",
        f"APT::Architecture={board.name}",
        f"APT::Architectures={board.name}",
        "APT::Sandbox::User=root",
    ]
    debian = Path("/etc/apt/sources.list.d/debian.sources")
    # Other lists may have nothing for this architecture, and security updates are not needed.
    if debian.is_file():
        chosen = state / "etc" / "debian.sources"
        chosen.write_text(
            "\n\n".join(part for part in debian.read_text().split("\n\n") if "-security" not in part) + "\n"
        )
        options += [f"Dir::Etc::SourceList={chosen}", "Dir::Etc::SourceParts=/dev/null"]
    apt = ["apt-get", "-qq", "-y", *(word for option in options for word in ("-o", option))]
    _run([*apt, "update"])
    _run([*apt, "install", "--download-only", "--no-install-recommends", *DEBIAN_PACKAGES, *board.packages])
    for package in sorted((state / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", package, root])


def python_of(root: Path) -> Path:
    """Return the Python of a Debian root, such as usr/bin/python3.11."""
    return next(path for path in sorted((root / "usr/bin").glob("python3.*")) if path.name[8:].isdigit())


def _install(board: Board, root: Path, wheels: Sequence[str], folder: Path) -> None:
    """Install the board's wheels of these packages, without what they depend on."""
    version = python_of(root).name.removeprefix("python")
    platforms = [word for platform in board.platforms for word in ("--platform", platform)]
    _run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"),
            *("--target", folder, "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", version, *platforms, *wheels),
        ]
    )


def onnxruntime_site() -> Path:
    """Return the folder with the 64-bit board's wheels of ONNX Runtime, installed once beside its root."""
    root = build("arm64")
    folder = root / "site-onnxruntime"
    if not folder.is_dir():
        _install(BOARDS["arm64"], root, ("onnxruntime", "flatbuffers", "packaging", "protobuf"), folder)
    return folder


def build(name: str) -> Path:
    """Make the root of a board unless it exists, and return it."""
    board = BOARDS[name]
    if shutil.which(board.qemu) is None:
        raise SystemExit(f"{board.qemu} is missing. Install it: apt-get install qemu-user-static")
    home = REPOSITORY / ".cache" / "arm" / name
    root = home / "root"
    if (home / "complete").is_file():
        return root
    shutil.rmtree(home, ignore_errors=True)
    root.mkdir(parents=True)
    _debian_root(board, root, home)
    _install(board, root, board.wheels, root / "site")
    (root / "proc").mkdir(exist_ok=True)
    for folder in ("sys/devices/system/cpu",):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for file in ("possible", "present"):
            (root / folder / file).write_text("0-3\n")
    shutil.rmtree(home / "apt")
    (home / "complete").touch()
    return root


def run_python(
    name: str,
    arguments: Sequence[str | Path],
    *,
    cpu: str,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` on the emulated board, with elsa-edge importable, and return what it printed."""
    board, root = BOARDS[name], build(name)
    (root / "proc/cpuinfo").write_text(CPUINFO.get(cpu, _CPUINFO_A72))
    variables = {
        "PYTHONPATH": f"{root / 'site'}:{REPOSITORY}",
        "PYTHONDONTWRITEBYTECODE": "",
        "OMP_NUM_THREADS": "1",
    }
    variables |= dict(environment or {})
    # What alternatives link.
    libraries = ":".join(str(path.parent) for path in root.glob("usr/lib/*/*/lib*.so.3"))
    words = [
        board.qemu,
        "-L",
        root,
        "-cpu",
        cpu,
        "-E",
        f"LD_LIBRARY_PATH={libraries}",
        python_of(root),
    ]
    command = [str(word) for word in words]
    # Processes that are started there: the machine itself cannot run a Python of another architecture.
    python = root.parent / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    python.chmod(0o755)
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, **variables, "ELSA_EDGE_EMULATED_PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["arm64"]:
        print(build(wanted))  # noqa: T201 - a command
