"""The trained network that a person brings: its checkpoint in whatever form, its module without wrappers.

file --reading--> plain values --matching--> the state_dict of this network --loading--> the network
"""

from __future__ import annotations

from elsa_edge.trained.loading import load_arrays, load_dense, tensors_of
from elsa_edge.trained.plain import plain_network, unwrap

__all__ = ["load_arrays", "load_dense", "plain_network", "tensors_of", "unwrap"]
