"""What is compared: each variant of a bundle under its runtime's name, and which of them is the base. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from elsa_edge.bundle.manifest import Variant

__all__ = ["Comparison", "LeftOut", "comparison_of", "label_of"]

# Exporter -> engine and precision, in the words of the table.
_LABELS: Final = {
    "ort-levels": ("ONNX Runtime", "float32"),
    "ort-switch": ("ONNX Runtime", "float32"),
    "onnx-selector": ("ONNX Runtime", "float32"),
    "ort-int8": ("ONNX Runtime", "int8"),
    "ort-nested": ("elsa-edge", "float32"),
    "ort-nested-int8": ("elsa-edge", "float32, weights int8"),
    "nested-int8": ("elsa-edge", "int8"),
    "nested-float16": ("elsa-edge", "float16"),
    "tflite-levels": ("LiteRT (XNNPACK)", "float32"),
    "tflite-sparse": ("LiteRT (XNNPACK, sparse)", "float32"),
    "tflite-int8": ("LiteRT (XNNPACK)", "int8"),
}
# Stock dense float32, in the order in which one serves as the base of ratios.
_BASES: Final = ("ort-levels", "ort-switch", "tflite-levels")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not in the table, and why."""

    network: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is timed of one network.

    Attributes:
        base: The variant whose densest level every other is compared with; None where nothing runs here.
        variants: All that run here, the base first.
        left_out: The others.
    """

    base: Variant | None
    variants: tuple[Variant, ...]
    left_out: tuple[LeftOut, ...]


def label_of(variant: Variant) -> tuple[str, str]:
    """Return engine and precision of a variant; one that is not ours is named as it is."""
    return _LABELS.get(variant.name, (variant.name, variant.runtime))


def comparison_of(
    network: str, variants: Sequence[Variant], why_not: Callable[[Variant], str | None]
) -> Comparison:
    """Sort the variants of a network into those that run here and those that do not.

    Args:
        network: Its name.
        variants: Of its bundle.
        why_not: Why one cannot be loaded here, or None.
    """
    reasons = {variant.name: why_not(variant) for variant in variants}
    left_out = tuple(LeftOut(network, name, reason) for name, reason in reasons.items() if reason is not None)
    runs = [variant for variant in variants if reasons[variant.name] is None]
    base = next((v for name in _BASES for v in runs if v.name == name), runs[0] if runs else None)
    ordered = tuple(sorted(runs, key=lambda variant: variant is not base))
    return Comparison(base, ordered, left_out)
