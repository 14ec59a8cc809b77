"""Viewers can fold a canonical graph: every operator says which module it belongs to, and nothing else."""

from __future__ import annotations

import torch
from support.zoo import ZOO
from torch import nn

from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.names import MASKED
from elsa_edge.graph.scopes import OWN, SCOPE
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec


class Net(nn.Module):
    """Two modules, one inside another, and an operator of the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.head(self.features(x).mean((2, 3)))


def test_operators_lie_in_their_modules_and_masks_beside_what_they_mask():
    model = Net()
    graph = export_canonical(sparsify(model, [0.5, 0.0]), model, [TensorSpec("x", (1, 1, 8, 8))]).model.graph
    scopes = {node.op_type: node.metadata_props.get(SCOPE) for node in graph if not node.name.startswith(OWN)}
    assert scopes["Conv"] == "features/0/0"
    assert scopes["BatchNormalization"] == "features/0/1"
    assert scopes["Gemm"] == "head"
    assert scopes["ReduceMean"] is None
    masks = {v.name: node.metadata_props[SCOPE] for node in graph for v in node.outputs if MASKED in v.name}
    assert masks["features.0.0.weight" + MASKED] == "features/0/0/weight at its level"
    assert masks["head.weight" + MASKED] == "head/weight at its level"


def test_folded_a_graph_is_a_few_boxes_and_holds_no_traces(canonical):
    """Whatever the network: all that levels add is inside boxes, and nothing else of the exporter is left."""
    for name in ZOO:
        for node in canonical(name).model.graph.all_nodes():
            assert set(node.metadata_props) <= {SCOPE}
            if (node.name or "").startswith(OWN):
                scope = node.metadata_props[SCOPE]
                assert scope == "level" or scope.endswith(" at its level")
