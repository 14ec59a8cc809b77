"""Run variants on a device and compare them with their golden outputs; needs only what a device has.

    python check_variants.py FOLDER     FOLDER holds variant folders, each with variant.json and golden.npz

Prints one JSON object: folder name -> {"differences": [largest |difference| / max(1, largest) by level], "tolerance",
"digests": [of all outputs, by level]}. Equal digests mean equal bits, and so the same kernels. With a labels.npy in the
folder also "accuracies": [by level], of the first output.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from pathlib import Path

import numpy as np

from elsa_edge.bundle.golden import Golden, largest_difference
from elsa_edge.bundle.manifest import Variant
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.litert.adapter import LitertAdapter
from elsa_edge.runtime_adapters.litert.engines import choose_package


def check(folder: Path) -> dict[str, object]:
    """Return the largest relative difference of every level of one variant."""
    variant = Variant.model_validate_json((folder / "variant.json").read_text())
    golden = Golden.load(folder / "golden.npz", len(variant.level_bytes))
    count = len(variant.level_bytes)
    adapter = LitertAdapter().open(
        folder, variant, level_count=count, runtime=Runtime(name="litert"), cache=None
    )
    labels = np.load(folder / "labels.npy") if (folder / "labels.npy").is_file() else None
    differences, digests, accuracies = [], [], []
    for level, expected in enumerate(golden.outputs):
        found = adapter.run(golden.inputs, level)
        pairs = [largest_difference(found[name], value) for name, value in expected.items()]
        differences.append(max(difference / max(1.0, scale) for difference, scale in pairs))
        bits = b"".join(np.ascontiguousarray(found[name]).tobytes() for name in expected)
        digests.append(hashlib.sha256(bits).hexdigest())
        if labels is not None:
            accuracies.append(float(np.mean(next(iter(found.values())).argmax(1) == labels)))
    adapter.close()
    return {
        "differences": differences,
        "tolerance": variant.relative_tolerance,
        "digests": digests,
        "accuracies": accuracies,
    }


def main() -> None:
    """Check every variant folder that is named."""
    # Under an emulator a process apart has to be started by it, too.
    sys.executable = os.environ.get("ELSA_EDGE_EMULATED_PYTHON", sys.executable)
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    report = {folder.name: check(folder) for folder in folders}
    context = {
        "machine": platform.machine(),
        "numpy": np.__version__,
        "package": choose_package(Runtime(name="litert")),
    }
    print(json.dumps({"context": context, "variants": report}))  # noqa: T201 - a command


if __name__ == "__main__":
    main()
