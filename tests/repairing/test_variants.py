"""A repaired checkpoint is a checkpoint like any other: every variant of this machine computes all of its levels."""

from __future__ import annotations

import numpy as np
import torch
from support import learned

from elsa_edge import AdaptiveSession, RepairSettings, repair
from elsa_edge.build import build_bundle
from elsa_edge.graph.export import export_canonical
from elsa_edge.profiles import load_profile
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec
from elsa_edge.trained import load_arrays

VARIANTS = (
    "ort-switch", "ort-levels", "ort-nested", "ort-nested-int8", "nested-int8", "ort-int8", "onnx-selector",
    "tflite-levels", "tflite-sparse", "tflite-int8",
)  # fmt: skip
# 8 bits answer almost as float32 does; a repaired level must not be harder for them than its agreement allows.
LEAST_AGREEMENT = 0.9


def test_every_variant_computes_every_level_of_a_repaired_checkpoint(tmp_path):
    """Tables first, then weights, in blocks that 8-bit kernels need: built, proved, and of torch's opinion."""
    cut = sparsify(learned.learned(), [0.5, 0.0], granularity="1x4")
    quick = {"steps": 8, "batch_size": 64, "check_every": 4, "augment": "none"}
    tables = repair(cut, learned.patterns(), learned.inputs(), RepairSettings(mode="tables", **quick))
    repaired = repair(tables, learned.patterns(), learned.inputs(), RepairSettings(mode="weights", **quick))
    model = learned.patterns()
    export_canonical(repaired, model, [TensorSpec("", (1, 1, 8, 8))]).save(tmp_path / "net.onnx")
    device = load_profile("generic-x86-64")
    files = device.tflite.model_copy(update={"sparse_for_size": True})
    device = device.model_copy(update={"tflite": files})
    bundle = build_bundle(
        tmp_path / "net.onnx",
        device,
        tmp_path / "bundle",
        variants=VARIANTS,
        golden={"x": learned.inputs()[:64].numpy()},
    )

    images = learned.images(64, 1)[0]
    for level in range(len(repaired.ladder)):
        load_arrays(model, repaired.at_level(level))
        with torch.no_grad():
            expected = model.eval()(images).numpy()
        for variant in bundle.manifest.variants:
            with AdaptiveSession.open(bundle.folder, variant=variant.name, cache=False) as session:
                (found,) = session.run({"x": images.numpy()}, level=level).values()
            same = np.mean(found.argmax(1) == expected.argmax(1))
            assert same >= LEAST_AGREEMENT, (variant.name, level, same)
            if "int8" not in variant.name:
                np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    assert {variant.name for variant in bundle.manifest.variants} == set(VARIANTS)
