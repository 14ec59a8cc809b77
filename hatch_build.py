"""Build hook: compile the nested sparse kernels when the package is installed, or go on without them.

Without a C++ compiler everything else works; the dense variants are used and say so. `pip install -e .` compiles into
the source tree, a wheel carries the library and the tag of its platform. Where there is a cross compiler the kernels
for 64-bit ARM come along, for devices that are deployed to. ELSA_EDGE_WHEEL_FOR=native leaves those out, and
ELSA_EDGE_WHEEL_FOR=linux-aarch64 makes a wheel for such a machine, which then needs no compiler: see `make dist`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_CARRIED = "linux-aarch64"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's configuration
    """Compile, and tell the wheel that it is no longer pure Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Run before the files of the wheel are collected."""
        build_data["force_include"] |= _not_linked(Path(self.root))
        build = _kernels_build(Path(self.root))
        asked = os.environ.get("ELSA_EDGE_WHEEL_FOR")
        target = asked or "native"
        try:
            library = build.ensure_library(target)
        except build.CompileError as error:
            if target != "native":
                raise
            self.app.display_warning(f"elsa-edge: the nested sparse kernels were not built ({error}).")
            self.app.display_warning(
                "Everything else works. Later: python -m elsa_edge.runtime_adapters.kernels.build"
            )
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform(build, library, target)}"
        if version == "editable":
            return  # they lie in the source tree, which is what is imported
        carried = {build.LIBRARY.name: library}
        if asked is None and build.find_compiler(build.TARGETS[_CARRIED]) is not None:
            cross = build.ensure_library(_CARRIED)
            carried[cross.name] = cross
        place = "elsa_edge/runtime_adapters/kernels"
        build_data["force_include"] |= {str(path): f"{place}/{name}" for name, path in carried.items()}


def _not_linked(root: Path) -> dict[str, str]:
    """Return the folders that a wheel would lack: an archive of sources holds each folder once, not its links.

    The checkout has links in elsa_edge for all four. Of them hatchling archives those that come before `elsa_edge` in
    the alphabet under their own names, and the others only inside it.
    """
    return {
        str(root / name): f"elsa_edge/{name}"
        for name in ("clients", "device_profiles")
        if not (root / "elsa_edge" / name).exists() and (root / name).is_dir()
    }


def _kernels_build(root: Path) -> ModuleType:
    """Load the file that compiles, before anything is installed."""
    path = root / "elsa_edge" / "runtime_adapters" / "kernels" / "build.py"
    spec = importlib.util.spec_from_file_location("elsa_kernels_build", path)
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = build  # dataclasses look their module up
    spec.loader.exec_module(build)
    return build


def _platform(build: ModuleType, library: Path, target: str) -> str:
    """Return the wheel's platform: from the C library that the kernels need, where that is glibc."""
    here = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    system, _, machine = (here if target == "native" else target.replace("-", "_")).partition("_")
    glibc = build.needed_glibc(library)
    if system != "linux" or glibc is None:
        return here
    return f"manylinux_{glibc[0]}_{glibc[1]}_{machine}"
