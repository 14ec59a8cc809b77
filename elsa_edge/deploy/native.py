"""The verifier for devices without Python: the C++ client's program, with ONNX Runtime for that kind of device.

    DEVICES/verifiers/android-aarch64/elsa-verify         from clients/cpp, built with the NDK
                                      libonnxruntime.so   from ONNX Runtime's archive for Android
                                      libelsa_nested.so   where nested variants are to be proved, too

One folder serves every device of its kind. What is in it travels by content, as the files of a bundle do, and a release
names by hash what its numbers were verified with.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from elsa_edge.bundle.instructions import Levels, Nested, Selector, Switch
from elsa_edge.bundle.manifest import Variant
from elsa_edge.deploy.contents import ReleaseFile
from elsa_edge.deploy.elf import HEAD_BYTES, elf_alignment, elf_machine
from elsa_edge.deploy.errors import DeviceError
from elsa_edge.errors import UsageError
from elsa_edge.files import atomic_directory, sha256_of

__all__ = ["Verifier", "find_verifier", "keep_verifier"]

_PROGRAM: Final = "elsa-verify"
_RUNTIME: Final = "libonnxruntime.so"
_KERNELS: Final = "libelsa_nested.so"
_FOLDER: Final = "verifiers"
# Android's names of architectures, as an archive for it has them; the client is for 64 bits.
_ABIS: Final = {"aarch64": "arm64-v8a", "x86-64": "x86_64"}


@dataclass(frozen=True)
class Verifier:
    """A folder with the program and what it loads; `kind` is such as "android-aarch64"."""

    folder: Path
    kind: str

    @cached_property
    def files(self) -> tuple[ReleaseFile, ...]:
        """What travels: the program, the runtime and, where they are, the kernels."""
        paths = [self.folder / name for name in (_PROGRAM, _RUNTIME, _KERNELS)]
        return tuple(
            ReleaseFile(path.name, sha256_of(path), path.stat().st_size, path)
            for path in paths
            if path.is_file()
        )

    @property
    def has_kernels(self) -> bool:
        """Whether nested variants can be verified."""
        return (self.folder / _KERNELS).is_file()

    @property
    def page_bytes(self) -> int | None:
        """Largest memory page that all of it can be loaded with."""
        known = [elf_alignment(_head(file.source)) for file in self.files if file.source is not None]
        return min((size for size in known if size is not None), default=None)

    def runs(self, variants: Sequence[Variant]) -> tuple[str, ...]:
        """Return the names of those variants that the native client runs."""
        return tuple(
            variant.name
            for variant in variants
            if variant.runtime == "onnxruntime"
            and (
                isinstance(variant.instructions, Selector | Switch | Levels)
                or (isinstance(variant.instructions, Nested) and self.has_kernels)
            )
        )


def find_verifier(devices: Path | None, system: str, arch: str | None) -> Verifier | None:
    """Return the verifier for a kind of device, or None where nobody has put one there.

    Args:
        devices: The folder with what is known of devices.
        system: "android" or "linux".
        arch: In a profile's words.
    """
    if devices is None or arch is None:
        return None
    kind = f"{system}-{arch}"
    folder = devices / _FOLDER / kind
    whole = all((folder / name).is_file() for name in (_PROGRAM, _RUNTIME))
    return Verifier(folder, kind) if whole else None


def keep_verifier(
    devices: Path, system: str, arch: str, *, program: Path, runtime: Path, kernels: Path | None
) -> Verifier:
    """Put a verifier where deployments find it, for every device of its kind; an earlier one is replaced.

    Args:
        devices: The folder with what is known of devices.
        system: "android" or "linux".
        arch: In a profile's words.
        program: elsa-verify, built for such a device.
        runtime: ONNX Runtime's library, or the archive (AAR) that has it.
        kernels: The library for nested variants.

    Raises:
        UsageError: When a file is missing, or for another machine.
    """
    if arch not in _ABIS:
        raise UsageError("The native client is for 64-bit devices", expected=", ".join(_ABIS), found=arch)
    kind = f"{system}-{arch}"
    with atomic_directory(devices / _FOLDER / kind, may_replace=_PROGRAM) as folder:
        _take(program, folder / _PROGRAM, arch)
        (folder / _PROGRAM).chmod(0o755)
        if zipfile.is_zipfile(runtime):
            _unpack(runtime, folder / _RUNTIME, arch)
            _check(folder / _RUNTIME, arch, f"{runtime}, its {_RUNTIME}")
        else:
            _take(runtime, folder / _RUNTIME, arch)
        if kernels is not None:
            _take(kernels, folder / _KERNELS, arch)
    return Verifier(devices / _FOLDER / kind, kind)


def _take(source: Path, target: Path, arch: str) -> None:
    _check(source, arch, str(source))
    shutil.copyfile(source, target)


def _unpack(archive: Path, target: Path, arch: str) -> None:
    name = f"jni/{_ABIS[arch]}/{_RUNTIME}"
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(name) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{archive} is no archive of ONNX Runtime for Android", expected=name, found=str(error)
        ) from error


def _check(path: Path, arch: str, what: str) -> None:
    try:
        machine = elf_machine(_head(path))
    except DeviceError as error:
        raise UsageError(str(error)) from error
    if machine != arch:
        raise UsageError(
            f"{what} is not for this device",
            expected=f"a program or library for {arch}",
            found="no native program" if machine is None else machine,
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as error:
        raise DeviceError(f"{path} cannot be read ({error.strerror or error})") from error
