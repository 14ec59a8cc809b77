"""LiteRT adapter: open TFLite variants with ai-edge-litert, or the older tflite-runtime where there is nothing newer.

    TfliteSignatures    one file, one interpreter, one signature per level; a switch costs nothing
    TfliteFiles         one file per level, one interpreter at a time; least memory, a switch loads the other file

Needs numpy and one of the two runtimes, nothing else.
"""

from __future__ import annotations

from pathlib import Path

from elsa_edge.bundle.instructions import TfliteFiles, TfliteSignatures
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import BundleError
from elsa_edge.plugins import Opened
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.litert.engines import PACKAGES, installed
from elsa_edge.runtime_adapters.litert.session import LitertSession

__all__ = ["LitertAdapter"]


class LitertAdapter:
    """Opens TFLite variants; see `elsa_edge.plugins.Adapter`."""

    def missing(self, variant: Variant) -> str | None:
        """Return what is missing: a runtime, or a newer elsa-edge for a kind it does not know."""
        if not any(installed(module) for module in PACKAGES.values()):
            return f"{' or '.join(PACKAGES)} is not installed"
        if not isinstance(variant.instructions, (TfliteFiles, TfliteSignatures)):
            return f"the LiteRT adapter does not know the kind {variant.instructions.kind}"
        return None

    def choices(self, variant: Variant) -> tuple[str, ...]:  # noqa: ARG002 - no TFLite variant has any
        """Return none."""
        return ()

    def open(
        self, folder: Path, variant: Variant, *, level_count: int, runtime: Runtime, cache: Path | None
    ) -> Opened:
        """Open a variant; see `elsa_edge.plugins.Adapter.open`.

        Raises:
            RuntimeUnavailableError: When neither runtime is installed, or tflite-runtime is next to numpy 2.
            BundleError: When a file is missing, damaged, or without the signatures that the manifest promises.
        """
        instructions = variant.instructions
        if not isinstance(instructions, (TfliteFiles, TfliteSignatures)):
            raise BundleError(
                f"The LiteRT adapter cannot open the variant {variant.name}",
                expected="instructions of the kind tflite-files or tflite-signatures",
                found=instructions.kind,
            )
        roles = instructions.roles(level_count)
        absent = [role for role in roles if role not in variant.files]
        if absent:
            raise BundleError(f"The variant {variant.name} has no file for {', '.join(absent)}")
        files = tuple(folder / variant.files[role] for role in roles)
        for file in files:
            if not file.is_file():
                raise BundleError(f"The TFLite file {file} is missing")
        level_bytes = variant.level_bytes or tuple(file.stat().st_size for file in files)
        return LitertSession(
            instructions,
            files=files,
            level_count=level_count,
            level_bytes=level_bytes,
            runtime=runtime,
            cache=cache,
        )
