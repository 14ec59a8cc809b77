"""Instructions of a compiled file, and the innermost loops among them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["Function", "functions", "inner_loops"]

# Address and text of each instruction, in order.
Function = list[tuple[int, str]]

_NAME: Final = re.compile(r"^[0-9a-f]+ <(.*)>:$")
_INSTRUCTION: Final = re.compile(r"^\s+([0-9a-f]+):\t(.*)$")
_BACK: Final = re.compile(r"^(?:b\.\w+|cbn?z|tbn?z)\s.*?([0-9a-f]+) <")


def functions(file: Path, objdump: str = "aarch64-linux-gnu-objdump") -> dict[str, Function]:
    """Return the instructions of each function of an object file or library."""
    words = [objdump, "-d", "--no-show-raw-insn", str(file)]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[str, Function] = {}
    here: Function = []
    for line in lines:
        if name := _NAME.match(line):
            here = found.setdefault(name[1], [])
        elif instruction := _INSTRUCTION.match(line):
            here.append((int(instruction[1], 16), instruction[2].split("//")[0].strip()))
    return found


def inner_loops(function: Function) -> list[list[str]]:
    """Return the loops that hold no other loop, each from its first instruction to the branch back."""
    position = {address: number for number, (address, _) in enumerate(function)}
    spans = []
    for number, (address, text) in enumerate(function):
        back = _BACK.match(text)
        if back and int(back[1], 16) <= address and int(back[1], 16) in position:
            spans.append((position[int(back[1], 16)], number))
    inner = [
        (first, last)
        for first, last in spans
        if not any((a, b) != (first, last) and first <= a and b <= last for a, b in spans)
    ]
    return [[text for _, text in function[first : last + 1]] for first, last in inner]
