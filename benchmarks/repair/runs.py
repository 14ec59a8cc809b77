"""The repairs that are measured; each one that is finished is kept, so that a run that was stopped goes on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from benchmarks.repair.photographs import labelled_accuracy, photographs, share, top1, trained_network
from benchmarks.repair.teachers import EPOCHS, accuracy, fashion_arrays, resnet20_trained
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.files import write_bytes
from elsa_edge.repair import RepairSettings, repair
from elsa_edge.repair.augment import Augmentation
from elsa_edge.repair.samples import Samples, source_of
from elsa_edge.sparsify import sparsify
from elsa_edge.trained import load_arrays

__all__ = ["Row", "kept", "repaired_photographs", "repaired_resnet"]

Row = dict[str, Any]
KEPT: Final = Path(__file__).parents[2] / ".cache" / "benchmarks" / "repair.jsonl"
INPUTS: Final = 8192


def kept(make: Callable[..., list[Row]], *, finished: bool = False, **arguments: Any) -> list[Row]:
    """Return the rows of a run, from the file of finished ones where they are; with `finished` only from there."""
    key = json.dumps([make.__name__, arguments], sort_keys=True)
    lines = KEPT.read_text().splitlines() if KEPT.is_file() else []
    for line in lines:
        found = json.loads(line)
        if found["key"] == key:
            rows: list[Row] = found["rows"]
            return rows
    if finished:
        return []
    print(f"{key} ...", file=sys.stderr, flush=True)
    rows = make(**arguments)
    lines = KEPT.read_text().splitlines() if KEPT.is_file() else []
    write_bytes(KEPT, ("\n".join([*lines, json.dumps({"key": key, "rows": rows})]) + "\n").encode())
    return rows


def _weights_kept(before: NestedCheckpoint, after: NestedCheckpoint) -> bool:
    return all(before.weights[name].tobytes() == after.weights[name].tobytes() for name in before.indices)


def _accuracies(model: nn.Module, checkpoint: NestedCheckpoint, images: Any, labels: Any) -> list[float]:
    found = []
    for level in range(len(checkpoint.ladder)):
        load_arrays(model, checkpoint.at_level(level))
        found.append(accuracy(model, images, labels))
    return found


def repaired_resnet(
    *, mode: str, ladder: tuple[float, ...], granularity: str, seed: int, steps: int, inputs: int = INPUTS
) -> list[Row]:
    """Cut ResNet-20 trained on Fashion-MNIST and repair it on unlabelled images; accuracies are on the test set.

    Args:
        mode: `tables` or `weights`.
        ladder: Sparsities.
        granularity: What is cut together.
        seed: Of which images are taken, what is held out, their order.
        steps: Optimiser steps a level.
        inputs: Images without labels.
    """
    images, _, test_images, test_labels = fashion_arrays()
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:inputs]
    model = resnet20_trained(0, EPOCHS)
    dense = accuracy(model, test_images, test_labels)
    cut = sparsify(model, ladder, granularity=granularity)
    as_cut = _accuracies(model, cut, test_images, test_labels)
    load_arrays(model, cut.weights)
    samples = Samples(source_of(model, images[chosen]), held_out=0.1, augmentation=Augmentation(), seed=seed)
    normed = sparsify(
        model, ladder, granularity=granularity, data=[(a,) for a, _ in samples.calibration(128)]
    )
    with_norms = _accuracies(model, normed, test_images, test_labels)
    load_arrays(model, cut.weights)
    began = time.process_time()
    settings = RepairSettings(mode=mode, steps=steps, seed=seed)
    made = repair(cut, model, images[chosen], settings)
    seconds = time.process_time() - began
    after = _accuracies(model, made, test_images, test_labels)
    told = made.provenance["repair"]["levels"]
    return [
        {
            "network": "ResNet-20", "mode": mode, "granularity": granularity, "sparsity": level.sparsity, "seed": seed,
            "steps": told.get(level.name, {}).get("steps", 0), "dense": dense, "as_cut": as_cut[k],
            "batch_norm": with_norms[k], "repaired": after[k], "cpu_s": round(seconds / max(1, len(told)), 1),
            "weights_kept": _weights_kept(cut, made),
        }
        for k, level in enumerate(made.ladder)
    ]  # fmt: skip


def repaired_photographs(*, mode: str, ladder: tuple[float, ...], minutes: float, steps: int) -> list[Row]:
    """Cut EfficientNet-Lite0, repair it on crops of photographs, judge it on photographs that it has not seen."""
    photos = photographs()
    model = trained_network()
    answers, labels = top1(model, photos.crops), top1(model, photos.whole)
    dense_accuracy = labelled_accuracy(labels, photos)
    taken = [
        photos.learning.take(part)[0] for part in torch.split(torch.arange(len(photos.learning)), 64)[:8]
    ]
    normed = sparsify(model, ladder, data=[(part,) for part in taken], exclude=["_fc*"])
    cut = sparsify(model, ladder, exclude=["_fc*"])
    began, wall = time.process_time(), time.monotonic()
    settings = RepairSettings(mode=mode, minutes=minutes, steps=steps, batch_size=32, check_every=20)
    made = repair(cut, model, photos.learning, settings)
    seconds, wall = time.process_time() - began, time.monotonic() - wall
    told = made.provenance["repair"]["levels"]
    rows = []
    for k, level in enumerate(made.ladder):
        row: Row = {
            "network": "EfficientNet-Lite0", "mode": mode, "sparsity": level.sparsity,
            "steps": told.get(level.name, {}).get("steps", 0), "dense_labelled": dense_accuracy,
        }  # fmt: skip
        for name, checkpoint in (("as_cut", cut), ("batch_norm", normed), ("repaired", made)):
            load_arrays(model, checkpoint.at_level(k))
            row[name] = share(top1(model, photos.crops), answers)
            row[f"{name}_labelled"] = labelled_accuracy(top1(model, photos.whole), photos)
        rows.append(row | {"cpu_s": round(seconds, 1), "wall_s": round(wall, 1)})
    return rows
