"""What a native program or library says about itself at the beginning of its file: its machine, its memory pages."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["HEAD_BYTES", "elf_alignment", "elf_machine"]

HEAD_BYTES: Final = 1 << 16
"""So much of a file is enough."""

_LOAD: Final = 1
_SMALLEST: Final = 64
_MACHINES: Final = {62: "x86-64", 183: "aarch64", 40: "armv7l"}


def elf_machine(head: bytes) -> str | None:
    """Return the architecture that a file is for, in a profile's words; None when it is no ELF."""
    if not _is_elf(head):
        return None
    number: int = struct.unpack_from("<H", head, 18)[0]
    return _MACHINES.get(number, f"machine {number}")


def elf_alignment(head: bytes) -> int | None:
    """Return how a library's segments are aligned, in bytes; None when it is no ELF."""
    if not _is_elf(head):
        return None
    wide = head[4] == 2
    table, size, count = (
        (struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54))
        if wide
        else (struct.unpack_from("<I", head, 28)[0], *struct.unpack_from("<HH", head, 42))
    )
    found = []
    for number in range(count):
        at = table + number * size
        if at + size > len(head):
            return None
        if struct.unpack_from("<I", head, at)[0] == _LOAD:
            found.append(
                struct.unpack_from("<Q", head, at + 48)[0]
                if wide
                else struct.unpack_from("<I", head, at + 28)[0]
            )
    return min(found, default=None)


def _is_elf(head: bytes) -> bool:
    return head[:4] == b"\x7fELF" and len(head) >= _SMALLEST and head[5] == 1
