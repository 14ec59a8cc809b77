"""Build hook: compile the nested sparse kernels when the package is installed, or go on without them.

Without a C++ compiler everything else works; the dense variants are used and say so. `pip install -e .` compiles into
the source tree, a wheel carries the library and the tag of its platform.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's configuration
    """Compile, and tell the wheel that it is no longer pure Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's interface
        """Run before the files of the wheel are collected."""
        path = Path(self.root, "runtime_adapters", "kernels", "build.py")
        spec = importlib.util.spec_from_file_location("elsa_kernels_build", path)
        if spec is None or spec.loader is None:
            return
        build = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = build  # dataclasses look their module up
        spec.loader.exec_module(build)
        try:
            library = build.ensure_library()
        except build.CompileError as error:
            self.app.display_warning(f"elsa-edge: the nested sparse kernels were not built ({error}).")
            self.app.display_warning(
                "Everything else works. Later: python -m elsa_edge.runtime_adapters.kernels.build"
            )
            return
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"].append(str(library.relative_to(self.root)))
