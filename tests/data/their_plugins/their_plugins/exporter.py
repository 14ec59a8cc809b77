"""`their-rows`: the rows of every fully connected layer that have a weight at a level, as arrays for numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Other
from elsa_edge.bundle.manifest import Variant
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.plugins import Preflight
from elsa_edge.profiles.schema import DeviceProfile


class RowsExporter:
    """See `elsa_edge.plugins.Exporter`."""

    name = "their-rows"
    runtime = "their-numpy"

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Only for chains of Gemm and Relu."""
        strange = {node.op_type for node in at_level(graph, 0).graph} - {"Gemm", "Relu"}
        if strange:
            return Preflight(
                applies=False, reasons=(f"their-numpy cannot compute {', '.join(sorted(strange))}",)
            )
        return Preflight(applies=True)

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write an `.npz` per level."""
        files, sizes = {}, []
        for level in range(len(graph.ladder)):
            arrays: dict[str, np.ndarray] = {}
            for node in at_level(graph, level).graph:
                if node.op_type == "Gemm":
                    weight, bias = (value.const_value.numpy() for value in node.inputs[1:])
                    place = len(arrays) // 2
                    arrays[f"weight_{place}"] = weight if node.attributes.get_int("transB", 0) else weight.T
                    arrays[f"bias_{place}"] = bias
            np.savez(folder / f"rows_{level}.npz", **arrays)
            files[f"rows_{level}"] = f"rows_{level}.npz"
            sizes.append(sum(array.nbytes for array in arrays.values()))
        names = {"input": next(iter(graph.inputs)), "output": next(iter(graph.outputs))}
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files=files,
            instructions=Other(kind="other:their-rows", settings=names),
            notes={"remark": "numpy computes it"},
            level_bytes=tuple(sizes),
        )
