"""Hide AVX from XNNPACK in this process, so that it runs its four-lane SSE kernels: the nearest stand-in for NEON here.

    XNNPACK's table of CPU features: keep SSE, SSE2, SSSE3 and SSE4.1, clear every later bit

Only for measuring. It finds XNNPACK's table by its name in the symbols of ai-edge-litert's library, fills it by calling
XNNPACK's own start-up function, and clears the bits before any network is loaded. Both sides of a ratio then use
kernels of the same width. No claim about a real ARM core follows from such a ratio.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import struct
from pathlib import Path
from typing import Final

__all__ = ["hide_avx"]

_TABLE: Final = "hardware_config"
_START_UP: Final = "xnn_init_hardware_config"
_FLAGS_OFFSET: Final = 8
_SSE_BITS: Final = 0b1111


def _symbols(library: Path, wanted: set[str]) -> dict[str, int]:
    """Return name -> address of symbols of a 64-bit little-endian ELF file."""
    content = memoryview(library.read_bytes())
    (sections_at,) = struct.unpack_from("<Q", content, 40)
    entry_bytes, count = struct.unpack_from("<HH", content, 58)
    headers = [
        struct.unpack_from("<IIQQQQIIQQ", content, sections_at + k * entry_bytes) for k in range(count)
    ]
    found = {}
    for header in headers:
        if header[1] != 2:  # SHT_SYMTAB
            continue
        start, size, names = header[4], header[5], headers[header[6]]
        text = bytes(content[names[4] : names[4] + names[5]])
        for name_at, _, _, _, address, _ in struct.iter_unpack("<IBBHQQ", content[start : start + size]):
            name = text[name_at : text.index(b"\0", name_at)].decode() if name_at else ""
            if name in wanted:
                found[name] = address
    return found


def _base(library: Path) -> int:
    """Return where the loaded library begins in this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(library.resolve())):
            return int(line.split("-")[0], 16) - int(line.split()[2], 16)
    raise RuntimeError(f"{library} is not loaded")


def hide_avx() -> bool:
    """Clear the AVX bits; return whether it worked. Call it before the first interpreter is made."""
    spec = importlib.util.find_spec("ai_edge_litert")
    if spec is None or spec.origin is None or platform.machine() != "x86_64" or platform.system() != "Linux":
        return False
    library = Path(spec.origin).with_name("libpywrap_litert_common.so")
    if not library.is_file():
        return False
    from ai_edge_litert import interpreter  # noqa: F401 - loads the library

    symbols = _symbols(library, {_TABLE, _START_UP})
    if set(symbols) != {_TABLE, _START_UP}:
        return False
    base = _base(library)
    start_up = ctypes.CFUNCTYPE(ctypes.c_void_p)(base + symbols[_START_UP])
    if start_up() != base + symbols[_TABLE]:
        return False
    flags = ctypes.c_uint64.from_address(base + symbols[_TABLE] + _FLAGS_OFFSET)
    if flags.value & _SSE_BITS != _SSE_BITS or flags.value >> 40:  # not the table that this was written for
        return False
    flags.value &= _SSE_BITS
    return True
