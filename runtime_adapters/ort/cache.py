"""A model optimised once on the device by ONNX Runtime, then mapped into memory at every start.

    CACHE/ort-KEY/{model.onnx, model.bin, stamp.json}      KEY = hash(hashes of its files, runtime, CPU, settings)

Why this form (ONNX Runtime 1.31.1, four levels, anonymous MB after running at all of them):

    network        plain dense   If, no cache   .ort mapped   external data   external + prepacked (chosen)
    ResNet-18             53.8          205.6          15.5            16.3             8.5
    MobileNetV2           26.5           94.3          35.8            38.2            18.5
    MLP 1024              8.6            58.9          30.1            30.2             1.7
    LSTM 2x256            10.9           73.8          36.7            36.6             2.5
    Transformer            5.8           43.2          15.8            16.8             4.8

Prepacking makes a private copy of each matrix in each branch; switched off it costs 1.25x (LSTM) to 1.7x
(Transformer) in latency, so the packed matrices are stored in the file and mapped like the rest.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pydantic_core import to_json

from elsa_edge.errors import ElsaError
from elsa_edge.plugins import NO_CACHE
from elsa_edge.running.children import run_child
from elsa_edge.running.onnx_session import Settings, onnx_runtime
from elsa_edge.runtime_adapters.derived import Derived, derived, not_derived
from elsa_edge.runtime_adapters.ort import optimise

__all__ = ["MODEL_NAME", "OLDEST_RUNTIME", "optimised_model"]

# Earlier ones save an If whose file does not load again ("initializer name is not unique").
OLDEST_RUNTIME: Final = (1, 31, 1)
MODEL_NAME: Final = optimise.MODEL_NAME
_LONGEST_OPTIMISE_S: Final = 600


def optimised_model(
    source: Path, source_hashes: str, cache: Path | None, limit_bytes: int, settings: Settings
) -> Derived:
    """Return the folder with the optimised form of `source`, `MODEL_NAME`, making it when it is missing or damaged.

    Args:
        source: The model of the bundle.
        source_hashes: What its files hash to, that of its weights among them.
        cache: Folder of the cache, or None for no cache.
        limit_bytes: Largest size of that folder.
        settings: How the model is optimised and will be opened.
    """
    if cache is None or limit_bytes <= 0:
        return Derived(None, NO_CACHE)
    version: str = onnx_runtime().__version__
    if _numbers(version) < OLDEST_RUNTIME:
        wanted = ".".join(map(str, OLDEST_RUNTIME))
        return not_derived(f"ONNX Runtime {version} is too old, {wanted} is needed")
    words = to_json(asdict(settings)).decode()

    def make(folder: Path) -> None:
        _optimise_elsewhere(source, folder, settings, words)
        if not (folder / MODEL_NAME).is_file():
            raise ElsaError("the optimiser wrote no model")

    return derived(cache, "ort", [source_hashes, version, words], make, limit_bytes=limit_bytes)


def _numbers(version: str) -> tuple[int, ...]:
    digits = (part for part in version.split("+", maxsplit=1)[0].split("."))
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in digits)


def _optimise_elsewhere(source: Path, folder: Path, settings: Settings, words: str) -> None:
    """Optimise in a process of its own, whose memory goes back to the system and whose crash costs only the cache."""
    if not sys.executable:
        # An embedded interpreter has no program to start.
        optimise.optimise(source, folder, settings)
        return
    done = run_child(optimise.__name__, [str(source), str(folder), words], _LONGEST_OPTIMISE_S)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()
        raise ElsaError(f"the optimiser failed ({reason[-1] if reason else f'signal {-done.returncode}'})")
