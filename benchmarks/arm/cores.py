"""What a core issues a cycle, and what LLVM's machine-code analyser says of a loop.

    cycles of a loop >= max(instructions / width, 16-byte loads * cycles a load, vector operations / vector ports)

The analyser (llvm-mca) also follows dependencies. LLVM has models of the Cortex-A55, which stands for the A53 before
it, and of the Neoverse N1, whose core is that of the Cortex-A76; of a Cortex-A72 it knows as much as of a Cortex-A57,
which starts half as many vector products. Its own Cortex-A53 is left out: there each result waits for all before it, so
a load after a product would take as long as the product.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["CORES", "Core", "analyser", "bound", "modelled_cycles"]

_ITERATIONS: Final = 200
_ANALYSERS: Final = ("llvm-mca", *(f"llvm-mca-{version}" for version in range(22, 16, -1)))
_BRANCH: Final = re.compile(r"^(b\.\w+|b|cbn?z|tbn?z)\s")
_TARGET: Final = re.compile(r"(0x)?[0-9a-f]+( <.*>)?$")
_VECTOR: Final = re.compile(
    r"^(fmla|fmul|fadd|sdot|smull2?|sadalp|saddlp|addp|eor|dup|scvtf|sshll2?|sxtl)\s+v"
)
_LOAD: Final = re.compile(r"^(ldr|ldur|ldp|ld1r?)\s")


@dataclass(frozen=True)
class Core:
    """A core, as vendors' optimisation guides describe it.

    Attributes:
        name: What people call it.
        model: LLVM's name of the model that stands for it.
        width: Instructions a cycle.
        load_cycles: Cycles that a load of 16 bytes keeps the load ports.
        vector_ports: Vector operations of 16 bytes a cycle.
        boards: Where it is found.
    """

    name: str
    model: str
    width: float
    load_cycles: float
    vector_ports: float
    boards: str


CORES: Final = (
    Core("Cortex-A53, A55", "cortex-a55", 2, 1, 2, "Raspberry Pi 3 and Zero 2 W, small cores of phones"),
    Core("Cortex-A72", "cortex-a72", 3, 1, 2, "Raspberry Pi 4"),
    Core("Cortex-A76", "neoverse-n1", 4, 0.5, 2, "Raspberry Pi 5, big cores of phones"),
)


def analyser() -> str:
    """Return the command of an analyser that knows the Neoverse N1.

    Raises:
        SystemExit: When there is none.
    """
    for command in _ANALYSERS:
        if shutil.which(command) and "neoverse-n1" in _known(command):
            return command
    raise SystemExit(
        "No llvm-mca of LLVM 17 or newer, whose Neoverse N1 is a model of its own. Try: apt-get install llvm-19"
    )


def _known(command: str) -> str:
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\d+)", said)
    # Before, the name stands for the model of a Cortex-A57.
    return "neoverse-n1" if version and int(version[1]) >= 17 else ""


def modelled_cycles(loop: Sequence[str], core: Core, command: str) -> float:
    """Return the cycles of one pass through a loop.

    Args:
        loop: Its instructions, the branch back last.
        core: Whose model.
        command: The analyser.

    Raises:
        SystemExit: When the analyser refuses an instruction.
    """
    lines = [_TARGET.sub("again", line) if _BRANCH.match(line) else line for line in loop]
    text = "\n".join(["again:", *lines, ""])
    words = [command, "-mtriple=aarch64", f"-mcpu={core.model}", f"-iterations={_ITERATIONS}"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    total = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if total is None:
        raise SystemExit(f"{command} refuses a loop for {core.name}: {done.stderr[:300]}")
    return int(total[1]) / _ITERATIONS


def bound(loop: Sequence[str], core: Core) -> float:
    """Return the least cycles of one pass: what the ports and the front of the core allow."""
    texts = [line.replace("\t", " ") for line in loop if _LOAD.match(line)]
    # Of 16 bytes each: both of a pair, and what fills all lanes.
    wide = sum(2 if text.startswith("ldp") else 1 for text in texts if " q" in text or "{" in text)
    narrow = sum(" q" not in text and "{" not in text for text in texts)
    vectors = sum(1 for line in loop if _VECTOR.match(line.replace("\t", " ")))
    return max(
        len(loop) / core.width,
        wide * core.load_cycles + narrow * min(core.load_cycles, 1),
        vectors / core.vector_ports,
    )
