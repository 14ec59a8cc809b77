"""The C++ client with Android's kernels on an emulated 64-bit ARM, as lines of JSON.

    python -m benchmarks.clients.emulated KERNELS FIXTURES FOLDER AAR

The client's test is cross-compiled against Debian's glibc and takes the real ARM wheel of ONNX Runtime; the kernels are
those for Android, which ask for a `libc.so`: glibc stands in for it under that name. Once with pages of 4 KB and once
with 16, where a loader refuses what is aligned to less. AAR is ONNX Runtime's archive for Android: what it needs of the
system is there. Times mean nothing. Needs qemu-user-static and g++-aarch64-linux-gnu.
"""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.clients.elf import facts, foreign_symbols
from benchmarks.clients.jvm_natives import run
from benchmarks.userland import BOARDS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
COMPILER: Final = "aarch64-linux-gnu-g++"
PLATFORMS: Final = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
PAGE_BYTES: Final = (4096, 16384)
AAR_LIBRARY: Final = "jni/arm64-v8a/libonnxruntime.so"


def runtime(folder: Path) -> Path:
    """Return the ARM library of the ONNX Runtime that is installed here, fetched once."""
    found = sorted(folder.glob("onnxruntime/capi/libonnxruntime.so.*"))
    if not found:
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        pinned = f"onnxruntime=={version('onnxruntime')}"
        run(
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms,
            "--dest", folder, pinned,
        )  # fmt: skip
        with zipfile.ZipFile(next(folder.glob("onnxruntime-*.whl"))) as wheel:
            names = [name for name in wheel.namelist() if "/capi/libonnxruntime.so." in name]
            wheel.extractall(folder, names)
        found = sorted(folder.glob("onnxruntime/capi/libonnxruntime.so.*"))
    return found[0]


def sysroot(root: Path) -> None:
    """Make what programs there look for: libraries, and files that tell of the processor."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "proc").mkdir(parents=True)
    (root / "lib").symlink_to("/usr/aarch64-linux-gnu/lib")
    # The emulator hands the host's through, and ONNX Runtime stumbles over it.
    (root / "proc" / "cpuinfo").write_text(BOARDS["arm64"].cpuinfo)
    cores = root / "sys" / "devices" / "system" / "cpu"
    cores.mkdir(parents=True)
    for file in ("possible", "present"):
        (cores / file).write_text("0-3\n")


def compiled(folder: Path) -> tuple[Path, Path]:
    """Return the client's test and a library aligned to pages of 4 KB; and put a `libc.so` beside them."""
    program, small = folder / "test_client", folder / "libsmall_pages.so"
    client, native = REPOSITORY / "clients/cpp", REPOSITORY / "runtime_adapters/kernels/native"
    includes = [f"-I{place}" for place in (client / "include", client / "src", native)]
    sources = (client / "src/elsa_edge.cpp", client / "test/test_client.cpp")
    run(COMPILER, "-std=c++17", "-O1", *includes, *sources, "-ldl", "-pthread", "-o", program)
    empty = ("-shared", "-fPIC", "-x", "c++", "/dev/null")
    run(COMPILER, *empty, "-Wl,-z,max-page-size=4096", "-o", small)
    run(COMPILER, *empty, "-Wl,-soname,libc.so", "-Wl,-z,max-page-size=65536", "-o", folder / "libc.so")
    return program, small


def emulated(folder: Path, page_bytes: int, *words: str | Path) -> list[dict[str, Any]]:
    """Run a program there; return its lines of JSON."""
    command = ("qemu-aarch64-static", "-L", folder / "root", "-p", str(page_bytes))
    said = run(*command, "-E", f"LD_LIBRARY_PATH={folder}", *words)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [{"emulated": "aarch64", "page_bytes": page_bytes} | line for line in lines]


def main(kernels: Path, fixtures: Path, folder: Path, aar: Path) -> None:
    """Print what the kernels ask of a phone, and what the client's test finds with them."""
    for tool in ("qemu-aarch64-static", COMPILER):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing: apt-get install qemu-user-static g++-aarch64-linux-gnu")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(aar) as archive:
        (folder / "android_onnxruntime.so").write_bytes(archive.read(AAR_LIBRARY))
    foreign = foreign_symbols(kernels, known_from=folder / "android_onnxruntime.so")
    sys.stdout.write(
        json.dumps({"kernels": "android-arm64", **facts(kernels), "not_in_android": foreign}) + "\n"
    )
    sysroot(folder / "root")
    program, small = compiled(folder)
    library = runtime(folder)
    for page_bytes in PAGE_BYTES:
        for row in emulated(folder, page_bytes, program, fixtures, library, kernels, small, "golden"):
            sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
