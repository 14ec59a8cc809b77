"""Open a variant through its adapter, without a bundle around it and without the guard that plug-ins run behind."""

from __future__ import annotations

from pathlib import Path

from elsa_edge.bundle.manifest import Variant
from elsa_edge.plugins import Opened
from elsa_edge.plugins.registry import ADAPTERS, find
from elsa_edge.profiles.schema import Runtime


def open_variant(
    folder: Path,
    variant: Variant,
    runtime: Runtime,
    cache: Path | None = None,
    *,
    level_count: int | None = None,
) -> Opened:
    """Open a variant; our exporters say what each level weighs, so they need not be counted."""
    count = len(variant.level_bytes) if level_count is None else level_count
    opened: Opened = find(ADAPTERS, variant.runtime)().open(
        folder, variant, level_count=count, runtime=runtime, cache=cache
    )
    return opened
