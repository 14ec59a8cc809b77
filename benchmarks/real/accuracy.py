"""Accuracy of each level by `elsa-edge evaluate`, in torch, in the graph and in every variant of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.real import command_line, networks

__all__ = ["CASES", "Case", "accuracies"]

Row = dict[str, Any]
Arrays = networks.Arrays
_VARIANTS: Final = ("ort-switch", "ort-levels", "ort-nested")


@dataclass(frozen=True)
class Case:
    """A trained network and what it is judged on.

    Attributes:
        factory: Name of its factory in `benchmarks.real.networks`.
        weights: Returns the file of its weights.
        shape: Of its input.
        levels: Its ladder.
        labelled: Returns inputs and labels.
        unlabelled: Returns inputs for BatchNorm; None without BatchNorm.
        output: The output that is judged; None for the only one.
    """

    factory: str
    weights: Callable[[], Path]
    shape: str
    levels: str
    labelled: Callable[[], Arrays]
    unlabelled: Callable[[], Arrays] | None = None
    output: str | None = None


CASES: Final = {
    "R-Net, labelled faces": Case(
        "rnet", networks.rnet_weights, "x=1x3x24x24", "0.98,0.95,0.9,0", networks.faces, output="face"
    ),
    "MobileNetV2, labelled photographs": Case(
        "mobilenet_v2",
        networks.mobilenet_v2_weights,
        "x=1x3x224x224",
        "0.6,0.4,0.2,0",
        networks.photographs,
        networks.scenes,
    ),
}


def accuracies(name: str, case: Case, folder: Path) -> Row:
    """Take a network the whole way and return what `evaluate` says of every form."""
    np.savez(folder / "labelled.npz", **case.labelled())  # type: ignore[arg-type]  # arrays by name
    nested, graph, bundle = folder / "nested.safetensors", folder / "model.onnx", folder / "bundle"
    common = ("--model", f"benchmarks.real.networks:{case.factory}")
    extra: tuple[object, ...] = ()
    if case.unlabelled is not None:
        np.savez(folder / "unlabelled.npz", **case.unlabelled())  # type: ignore[arg-type]  # arrays by name
        extra = ("--data", folder / "unlabelled.npz")
    shape = ("--input-shape", case.shape)
    command_line("sparsify", case.weights(), *common, *shape, *extra, "--levels", case.levels, "-o", nested)
    command_line("export", nested, *common, *shape, "-o", graph)
    chosen = [part for variant in _VARIANTS for part in ("--variant", variant)]
    command_line("build", graph, "--device", "generic-x86-64", *chosen, "-o", bundle)
    asked = ("--data", folder / "labelled.npz", *(("--output-name", case.output) if case.output else ()))
    found: dict[str, Any] = {}
    for what, more in ((nested, common), (graph, ()), (bundle, tuple(chosen))):
        found |= command_line("evaluate", what, *asked, *more)["measured"]
    forms = {form: [level["accuracy"] for level in levels] for form, levels in found.items()}
    first = next(iter(found.values()))
    return {
        "network": name,
        "levels": [level["name"] for level in first],
        "samples": first[0]["samples"],
        "accuracy": forms,
        "interval": [[round(level["low"], 3), round(level["high"], 3)] for level in first],
        "equal": all(figures == next(iter(forms.values())) for figures in forms.values()),
    }
