"""Get the wheels that a device needs, for its processor and Python, without asking it: pip fetches, nothing is run."""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from elsa_edge.deploy.elf import HEAD_BYTES, elf_alignment
from elsa_edge.deploy.errors import DeviceError, IncompatibleError
from elsa_edge.deploy.facts import DeviceFacts, PythonFacts
from elsa_edge.deploy.own_wheel import kernels_for, own_wheel
from elsa_edge.deploy.packages import PackagePlan, platform_tags, takes
from elsa_edge.deploy.transport import execute
from elsa_edge.files import atomic_directory, sha256_of

__all__ = ["Wheel", "collect_wheels", "requirements", "wheels_for", "wheels_in"]


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that will be unpacked on a device.

    Attributes:
        path: Where it lies here.
        sha256: Of the file.
        size_bytes: Of the file.
        unpacked_bytes: On the device.
        page_bytes: Largest memory page that all its native libraries can be loaded with; None when it has none.
    """

    path: Path
    sha256: str
    size_bytes: int
    unpacked_bytes: int
    page_bytes: int | None

    @classmethod
    def of(cls, path: Path) -> Wheel:
        """Look at a wheel.

        Raises:
            DeviceError: When it is not one.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
                libraries = [entry for entry in entries if re.search(r"\.so(\.\d+)*$", entry.filename)]
                alignments = [elf_alignment(archive.open(entry).read(HEAD_BYTES)) for entry in libraries]
        except (OSError, zipfile.BadZipFile) as error:
            raise DeviceError(f"{path} is not a wheel ({error})") from error
        known = [size for size in alignments if size is not None]
        unpacked = sum(entry.file_size for entry in entries)
        return cls(path, sha256_of(path), path.stat().st_size, unpacked, min(known, default=None))


def wheels_for(facts: DeviceFacts, python: PythonFacts, folder: Path) -> list[Wheel]:
    """Return the wheels of a folder, which somebody fetched, for a device.

    Raises:
        DeviceError: When it holds none.
        IncompatibleError: When one is for another processor, Python or C library.
    """
    found = wheels_in(folder)
    wrong = [wheel.path.name for wheel in found if not takes(wheel.path.name, facts, python)]
    if wrong:
        raise IncompatibleError(
            f"{folder} holds wheels that the device cannot use",
            expected=f"{facts.machine}, Python {'.'.join(map(str, python.version))}, "
            f"glibc {'.'.join(map(str, python.libc)) or 'none'}",
            found=", ".join(wrong),
            fix="Fetch them for this device: elsa-edge device wheels NAME -o DIR",
        )
    return found


def wheels_in(folder: Path) -> list[Wheel]:
    """Return the wheels of a folder, by name.

    Raises:
        DeviceError: When it holds none.
    """
    found = [Wheel.of(path) for path in sorted(folder.glob("*.whl"))]
    if not found:
        raise DeviceError(
            f"{folder} holds no wheels", fix="`elsa-edge device wheels NAME -o DIR` fetches them"
        )
    return found


def collect_wheels(
    plan: PackagePlan, facts: DeviceFacts, cache: Path, tell: Callable[[str], None]
) -> list[Wheel]:
    """Return everything that a device needs to run bundles; what was fetched once is taken from `cache`.

    Raises:
        IncompatibleError: When a package has no wheel for the device.
        DeviceError: When pip is not there.
    """
    assert plan.python is not None
    wanted = requirements(plan.runtimes, plan.theirs)
    python = ".".join(map(str, plan.python.version[:2]))
    tags = platform_tags(facts, plan.python)
    key = hashlib.sha256("\n".join([python, *tags, *wanted]).encode()).hexdigest()[:16]
    place = cache / "wheels" / f"{facts.arch}-{python}-{key}"
    if not place.is_dir():
        tell(f"fetching {', '.join(wanted)} for {facts.arch}, Python {python}")
        with atomic_directory(place) as temporary:
            if not plan.theirs:
                _download(wanted, python, tags, temporary)
            else:  # what the runtime depends on is on the device, or among the others
                runtimes = len(plan.runtimes)
                _download(wanted[:-runtimes], python, tags, temporary)
                _download(["--no-deps", *wanted[-runtimes:]], python, tags, temporary)
    kernels, _ = kernels_for(facts.arch, plan.python.libc)
    own = own_wheel(cache / "wheels" / "own" / str(facts.arch), kernels)
    return [Wheel.of(own), *wheels_in(place)]


def requirements(runtimes: Sequence[str], theirs: Sequence[str] = ()) -> list[str]:
    """Return what pip is asked for: what elsa-edge itself needs on every device, and after that the runtimes.

    Args:
        runtimes: Packages of runtimes.
        theirs: Packages that the device has of its own.
    """
    needs = distribution("elsa-edge").requires or []
    limits = {_name_in(need): need.partition(";")[0].strip() for need in needs if "extra" in need}
    left_out = {_normal(name) for name in theirs}
    basic = [need for need in needs if "extra ==" not in need and _normal(_name_in(need)) not in left_out]
    return sorted(basic) + [limits.get(name, name) for name in runtimes]


def _name_in(need: str) -> str:
    return re.split(r"[<>=!~;\[ ]", need)[0]


def _normal(name: str) -> str:
    """Return a package's name as all of its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _download(wanted: Sequence[str], python: str, tags: Sequence[str], folder: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
        "--implementation", "cp", "--python-version", python, "--dest", str(folder),
        *(word for tag in tags for word in ("--platform", tag)), *wanted,
    ]  # fmt: skip
    done = execute(command)
    if done.returncode:
        lines = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()
        raise IncompatibleError(
            f"The packages for the device cannot be fetched ({lines[-1][:300] if lines else 'pip failed'})",
            fix="Without network: elsa-edge device wheels NAME -o DIR elsewhere, then --wheels DIR; or install a "
            "runtime on the device yourself and use --packages own",
        )
