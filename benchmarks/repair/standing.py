"""Rows of parts that a run does not measure anew: they stand as they were committed, with the commit they are of."""

from __future__ import annotations

import json
from typing import Final

from benchmarks.common.command import RESULTS
from benchmarks.repair.kept import Row

__all__ = ["PARTS", "standing"]

PARTS: Final = {
    "ResNet-14, Fashion-MNIST": "fashion",
    "EfficientNet-Lite0": "photographs",
    "MobileNetV2": "photographs",
    "R-Net": "small",
    "silero-vad": "small",
}


def standing(part: str) -> list[Row]:
    """Return the committed rows of a part."""
    path = RESULTS / "repair.json"
    if not path.is_file():
        return []
    found = json.loads(path.read_text())
    commit = found["context"]["commit"]
    return [
        {"commit": commit, **row}
        for row in found["rows"]
        if PARTS.get(row.get("network", ""), "fashion") == part
    ]
