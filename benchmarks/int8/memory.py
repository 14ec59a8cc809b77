"""Anonymous memory of an 8-bit variant, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.common import anonymous_bytes
from benchmarks.common.sessions import INPUT, open_variant, profile_for
from elsa_edge.bundle.manifest import Variant

__all__ = ["anonymous"]


def anonymous(folder: str, inputs: str) -> dict[str, int]:
    """Return the anonymous bytes that a session adds to this fresh process.

    Args:
        folder: Of the variant, with its description as `variant.json`.
        inputs: `.npy` of the only input.

    Returns:
        `sparse_levels`: after a run at the sparsest level. `all_levels`: after a run at each.
    """
    import onnxruntime  # noqa: F401 - the runtime itself is not the session's memory

    place = Path(folder)
    variant = Variant.model_validate_json((place / "variant.json").read_text())
    feed = {INPUT: np.load(inputs)}
    before = anonymous_bytes()
    session = open_variant(place, variant, profile_for("nested-int8").runtime)
    session.run(feed, 0)
    sparse = anonymous_bytes() - before
    for level in range(session.level_count):
        session.run(feed, level)
    return {"sparse_levels": sparse, "all_levels": anonymous_bytes() - before}
