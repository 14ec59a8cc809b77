"""Our own wheel for devices, made from what is installed here: a device runs exactly the version that deploys.

It carries kernels that were compiled for the device's processor and that its C library can load, or none.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Final

from elsa_edge.deploy.errors import DeviceError
from elsa_edge.deploy.packages import MACHINES
from elsa_edge.files import write_bytes
from elsa_edge.nested_format.library import library_for, needed_glibc

__all__ = ["Kernels", "kernels_for", "own_version", "own_wheel"]

_PACKAGE: Final = Path(__file__).parents[1]
_HOW: Final = {
    "aarch64": " (apt-get install g++-aarch64-linux-gnu, then python -m elsa_edge.runtime_adapters.kernels.build "
    "--target linux-aarch64)"
}
_TAKEN: Final = {".py", ".yaml", ".json", ".sh", ".typed", ".service"}
_WHEN: Final = (2020, 1, 1, 0, 0, 0)  # the same content gives the same bytes


def own_version() -> str:
    """Return the version of elsa-edge that is installed here.

    Raises:
        DeviceError: When it is not installed, only lies on the path.
    """
    try:
        return version("elsa-edge")
    except PackageNotFoundError as error:
        raise DeviceError(
            "elsa-edge is not installed here, so it cannot be brought to a device",
            fix="Install it: pip install elsa-edge",
        ) from error


@dataclass(frozen=True, slots=True)
class Kernels:
    """Compiled kernels: the library, and the platform of wheels that carry it."""

    library: Path
    platform: str


def kernels_for(arch: str | None, libc: Sequence[int]) -> tuple[Kernels | None, str]:
    """Return the compiled kernels that a device can load, or None and why there are none.

    Args:
        arch: Its architecture, in a profile's words.
        libc: The version of its glibc.
    """
    library = library_for(arch or "")
    if library is None or arch is None:
        return None, f"no kernels for {arch} were compiled here{_HOW.get(arch or '', '')}"
    needed = needed_glibc(library)
    if needed is not None and needed > tuple(libc[:2]):
        told = ["{}.{}".format(*version) if version else "none" for version in (needed, tuple(libc[:2]))]
        return None, f"the kernels that were compiled here need glibc {told[0]}, the device has {told[1]}"
    machine = MACHINES[arch]
    platform = f"linux_{machine}" if needed is None else f"manylinux_{needed[0]}_{needed[1]}_{machine}"
    return Kernels(library, platform), ""


def own_wheel(folder: Path, kernels: Kernels | None) -> Path:
    """Write elsa-edge as it is installed here as a wheel for devices, with those kernels."""
    name = f"elsa_edge-{own_version()}"
    tag = f"py3-none-{'any' if kernels is None else kernels.platform}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, data in _own_files(kernels):
            archive.writestr(_entry(f"elsa_edge/{path}"), data)
        for file in ("METADATA", "entry_points.txt"):
            archive.writestr(_entry(f"{name}.dist-info/{file}"), _metadata(file))
        archive.writestr(
            _entry(f"{name}.dist-info/WHEEL"),
            f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        )
    target = folder / f"{name}-{tag}.whl"
    write_bytes(target, buffer.getvalue())
    return target


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _WHEN)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _metadata(file: str) -> str:
    text = distribution("elsa-edge").read_text(file)
    if text is None:
        raise DeviceError(f"The installation of elsa-edge here has no {file}", fix="Install it again")
    return text


def _own_files(kernels: Kernels | None) -> Iterator[tuple[str, bytes]]:
    """Yield our files by their place in the package; folders at top level of the source tree are linked into it."""
    folders = [_PACKAGE]
    found: dict[str, Path] = {}
    while folders:
        folder = folders.pop()
        for path in folder.iterdir():
            if path.is_dir() and path.name not in ("__pycache__", "native"):
                folders.append(path)
            elif path.suffix in _TAKEN:
                found[path.relative_to(_PACKAGE).as_posix()] = path
    for name in sorted(found):
        yield name, found[name].read_bytes()
    if kernels is not None:
        yield "runtime_adapters/kernels/libelsa_nested.so", kernels.library.read_bytes()
