"""What stands where in a network, as torch.fx sees it: which BatchNorm follows a layer, which layers make the outputs.

A trace stops at the layers that are asked for, also where a user has derived them from torch's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch.fx
    from torch import nn

__all__ = ["followers_by_tracing", "output_layers"]


def _trace(model: nn.Module, stops: Collection[str]) -> list[torch.fx.Node]:
    """Return the nodes of a trace; raises whatever the traced code raises."""
    import torch.fx

    class Tracer(torch.fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return module_qualified_name in stops or super().is_leaf_module(m, module_qualified_name)

    return list(Tracer().trace(model).nodes)


def followers_by_tracing(
    model: nn.Module, layers: Mapping[str, str], norms: Collection[str]
) -> dict[str, str]:
    """Return weight name -> name of the BatchNorm that its layer's output goes straight into.

    Args:
        model: The network.
        layers: Module name -> weight name.
        norms: Names of the BatchNorm modules.
    """
    import torch.fx

    nodes = _trace(model, {*layers, *norms})
    calls = Counter(str(node.target) for node in nodes if node.op == "call_module")
    found = {}
    for node in nodes:
        if node.op != "call_module" or str(node.target) not in norms or not node.args:
            continue
        if calls[str(node.target)] > 1:
            continue  # it also stands behind another layer, whose channels may live
        source = node.args[0]
        if isinstance(source, torch.fx.Node) and source.op == "call_module" and str(source.target) in layers:
            found[layers[str(source.target)]] = str(node.target)
    return found


def output_layers(model: nn.Module, layers: Collection[str]) -> set[str] | None:
    """Return the layers behind which no other of `layers` comes before an output; None where a trace is impossible."""
    try:
        nodes = _trace(model, layers)
    except Exception:  # noqa: BLE001 - torch.fx raises whatever the traced code raises
        return None
    found, seen = set(), set()
    queue = [node for node in nodes if node.op == "output"]
    while queue:
        node = queue.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op == "call_module" and str(node.target) in layers:
            found.add(str(node.target))
        else:
            queue.extend(node.all_input_nodes)
    return found
