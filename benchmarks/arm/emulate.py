"""The emulated board, with a plugin that counts instructions.

Debian's QEMU takes no plugins. One that does is built from the same source with `--enable-plugins` (docs/boards.md has
the lines). `ELSA_QEMU` names its `qemu-aarch64`, `ELSA_QEMU_HEADERS` the folder of its `qemu-plugin.h`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

__all__ = ["Block", "board", "compile_plugin", "count"]

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_PLUGIN: Final = Path(__file__).with_name("blocks.c")
_GUEST: Final = Path(__file__).with_name("guest.py")


@dataclass(frozen=True)
class Block:
    """A stretch of instructions without a branch but the last one.

    Attributes:
        mark: Of the inference.
        count: How often it ran.
        code: Its bytes, 4 an instruction.
    """

    mark: int
    count: int
    code: bytes

    @property
    def instructions(self) -> int:
        """All that it ran."""
        return self.count * (len(self.code) // 4)


def board() -> ModuleType:
    """Return what makes and describes the emulated boards of the tests."""
    path = _REPOSITORY / "tests" / "arm" / "emulator.py"
    spec = importlib.util.spec_from_file_location("emulator", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules["emulator"] = module
    spec.loader.exec_module(module)
    return module


def _given(variable: str, what: str) -> str:
    value = os.environ.get(variable, "")
    if not Path(value).exists() or not value:
        raise SystemExit(f"{variable} must name {what}. Found: {value or 'nothing'}. See docs/boards.md")
    return value


def compile_plugin(folder: Path) -> Path:
    """Return the plugin, compiled for the emulator that `ELSA_QEMU` names.

    Raises:
        SystemExit: When there are no headers.
    """
    headers = _given("ELSA_QEMU_HEADERS", "the folder of qemu-plugin.h")
    glib = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "glib-2.0"], capture_output=True, text=True, check=True
    )
    plugin = folder / "blocks.so"
    words = ["gcc", "-shared", "-fPIC", "-O2", f"-I{headers}", str(_PLUGIN), "-o", str(plugin)]
    subprocess.run([*words, *glib.stdout.split()], check=True)
    return plugin


def count(plugin: Path, jobs: Path, inputs: Path, cpu: str, sites: list[Path]) -> list[Block]:
    """Return the blocks of every inference of `jobs` on an emulated core.

    Args:
        plugin: From `compile_plugin`.
        jobs: What guest.py reads.
        inputs: The network's input as `.npy`.
        cpu: QEMU's name of the core.
        sites: Folders of Python packages for the board, best first.

    Raises:
        SystemExit: When the board's Python fails.
    """
    emulator = board()
    root = emulator.build("arm64")
    (root / "proc/cpuinfo").write_text(emulator.CPUINFO[cpu])
    libraries = ":".join(str(path.parent) for path in root.glob("usr/lib/*/*/lib*.so.3"))
    counted = plugin.with_name("blocks.txt")
    command = [
        _given("ELSA_QEMU", "a qemu-aarch64 that takes plugins"), "-plugin", f"{plugin},out={counted}", "-L", root,
        "-cpu", cpu, "-E", f"LD_LIBRARY_PATH={libraries}", emulator.python_of(root), _GUEST, jobs, inputs,
    ]  # fmt: skip
    variables = {"PYTHONPATH": ":".join(map(str, sites)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"The emulated board failed: {done.stderr[-2000:]}")
    blocks = []
    for line in counted.read_text().splitlines():
        number, times, code = line.split()
        blocks.append(Block(int(number), int(times), bytes.fromhex(code)))
    return blocks
