"""The canonical graph: the one dense ONNX graph with level indices and a level input. Load, save, look inside.

It is the interchange form and the oracle that every variant is compared with; it is not the fast form.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.errors import ContractError, ExportError, LevelError
from elsa_edge.files import write_bytes
from elsa_edge.graph.names import (
    FORMAT,
    FORMAT_KEY,
    INDEX,
    LADDER_KEY,
    LEVEL_INPUT,
    NOISE_KEY,
    PROVENANCE_KEY,
    TABLE,
)
from elsa_edge.levels import Ladder, LevelIndex, measured_densities
from elsa_edge.proof.tolerance import LARGEST_NOISE, RELATIVE, Tolerance
from elsa_edge.tensors import TensorSpec

__all__ = ["CanonicalGraph", "require_one_file"]

_LARGEST_PROTOBUF_BYTES: Final = (1 << 31) - 1
_ROOM_FOR_NODES_BYTES: Final = 16 << 20


def _spec(value: ir.Value) -> TensorSpec:
    if value.name is None or value.dtype is None or value.shape is None:
        raise ContractError("An input or output has no name, type or shape", found=str(value))
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    sizes = tuple(None if isinstance(size, int) else size.value for size in value.shape)
    return TensorSpec(value.name, shape, str(value.dtype.numpy()), sizes)


def _noise_from_json(text: str, level_count: int) -> dict[str, tuple[float, ...]]:
    noise = {name: tuple(float(value) for value in values) for name, values in json.loads(text).items()}
    for name, values in noise.items():
        if len(values) != level_count or not all(0.0 <= value <= LARGEST_NOISE for value in values):
            message = f"noise of {name}: {values}"
            raise ValueError(message)
    return noise


def require_one_file(model: ir.Model) -> None:
    """Check that a graph fits into one ONNX file, before protobuf fails at it with words of its own.

    Raises:
        ExportError: When it does not.
    """
    tensors = [value.const_value for value in model.graph.initializers.values()]
    size_bytes = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    if size_bytes + _ROOM_FOR_NODES_BYTES > _LARGEST_PROTOBUF_BYTES:
        raise ExportError(
            "The graph is too large for one ONNX file",
            expected="at most 2 GiB of weights and level indices",
            found=f"{size_bytes / 2**30:.2f} GiB",
            fix="Export the network in parts: --outputs NAME keeps what leads to an output or a module",
        )


@dataclass(frozen=True)
class CanonicalGraph:
    """A canonical graph in memory. Treat `model` as read-only; rewriting starts from `copy()`.

    Attributes:
        model: The graph. It has not necessarily been checked: see `elsa_edge.graph.check.check_contract`.
        ladder: Its levels.
        provenance: Where it came from; JSON values.
        noise: Output name -> how far float32 lies from float64 at each level, relative to the output's scale; see
            `elsa_edge.graph.noise`. An output that is not here has none.
    """

    model: ir.Model
    ladder: Ladder
    provenance: Mapping[str, Any]
    noise: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def from_model(cls, model: ir.Model) -> CanonicalGraph:
        """Read the metadata of a model.

        Raises:
            ContractError: When the metadata says that this is not a canonical graph of format 1.
        """
        found = model.metadata_props.get(FORMAT_KEY)
        if found != FORMAT or LADDER_KEY not in model.metadata_props:
            raise ContractError(
                "This ONNX model is not a canonical graph",
                expected=f"metadata {FORMAT_KEY} = {FORMAT} and {LADDER_KEY}",
                found=f"{FORMAT_KEY} = {found!r}; metadata: {', '.join(sorted(model.metadata_props)) or 'none'}",
                fix="Make one with `elsa-edge export`",
            )
        try:
            ladder = Ladder.from_json(model.metadata_props[LADDER_KEY])
            provenance = json.loads(model.metadata_props.get(PROVENANCE_KEY, "{}"))
            noise = _noise_from_json(model.metadata_props.get(NOISE_KEY, "{}"), len(ladder))
        except (LevelError, ValueError, TypeError, AttributeError) as error:
            raise ContractError(f"The metadata of the canonical graph is damaged ({error})") from error
        return cls(model, ladder, provenance, noise)

    @classmethod
    def load(cls, path: Path) -> CanonicalGraph:
        """Read a canonical graph from a file; the file must hold everything (no external data).

        Raises:
            ContractError: When the file is missing, is not ONNX, or is not a canonical graph.
        """
        import onnx

        if not path.is_file():
            raise ContractError(f"There is no model at {path}")
        try:
            proto = onnx.load_model(str(path), load_external_data=False)
        except Exception as error:  # protobuf raises unrelated classes of its own
            raise ContractError(f"{path} is not an ONNX model ({type(error).__name__})") from error
        outside = [t.name for t in proto.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
        if outside:
            raise ContractError(
                "A canonical graph holds all its data in one file", found=f"external data for {outside[0]}"
            )
        try:
            model = ir.from_proto(proto)
        except Exception as error:  # any inconsistency in a hostile file ends here
            raise ContractError(f"{path} is not a readable ONNX model ({error})") from error
        return cls.from_model(model)

    def save(self, path: Path) -> None:
        """Write the graph with its metadata to one file, atomically.

        Raises:
            ExportError: When it is too large for one.
        """
        require_one_file(self.model)
        model = self.copy().model
        model.metadata_props[FORMAT_KEY] = FORMAT
        model.metadata_props[LADDER_KEY] = self.ladder.to_json()
        model.metadata_props[PROVENANCE_KEY] = json.dumps(dict(self.provenance), sort_keys=True)
        if self.noise:
            model.metadata_props[NOISE_KEY] = json.dumps(dict(self.noise), sort_keys=True, allow_nan=False)
        write_bytes(path, ir.to_proto(model).SerializeToString())

    def with_provenance(self, **entries: Any) -> CanonicalGraph:
        """Return the same graph with entries added to its provenance."""
        return replace(self, provenance={**self.provenance, **entries})

    def tolerance(self, output: str, level: int, relative: float = RELATIVE) -> Tolerance:
        """Return the numeric contract of an output at a level, for a variant that promises `relative`."""
        found = self.noise.get(output)
        return Tolerance(relative, 0.0 if found is None else found[level])

    def with_ladder(self, ladder: Ladder) -> CanonicalGraph:
        """Return the same graph with figures filled into its ladder; its levels stay what they are."""
        return replace(self, ladder=ladder)

    def copy(self) -> CanonicalGraph:
        """Return a copy whose graph may be rewritten; tensors are shared, and no pass writes into them."""
        return replace(self, model=self.model.clone(), provenance=copy.deepcopy(dict(self.provenance)))

    def with_input_names(self, *names: str) -> CanonicalGraph:
        """Return the same graph with its inputs, the level apart, called `names` in their order."""
        renamed = self.copy()
        values = [value for value in renamed.model.graph.inputs if value.name != LEVEL_INPUT]
        for value, name in zip(values, names, strict=True):
            value.name = name
        return renamed

    @cached_property
    def nested(self) -> tuple[str, ...]:
        """Names of the weights that have a level index."""
        return tuple(
            name.removesuffix(INDEX) for name in self.model.graph.initializers if name.endswith(INDEX)
        )

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Names of the tensors that differ by level."""
        return tuple(
            name.removesuffix(TABLE) for name in self.model.graph.initializers if name.endswith(TABLE)
        )

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return an initializer's numbers."""
        value = self.model.graph.initializers.get(name)
        if value is None or value.const_value is None:
            raise ContractError(f"The canonical graph has no tensor named {name!r}")
        return np.asarray(value.const_value.numpy())

    def weight(self, name: str) -> npt.NDArray[np.float32]:
        """Return a nested weight in its dense form."""
        return self.array(name)

    def index(self, name: str) -> LevelIndex:
        """Return a nested weight's level index, uint8, shaped like the weight."""
        return self.array(name + INDEX)

    def table(self, name: str) -> npt.NDArray[np.float32]:
        """Return the rows of a tensor that differs by level: `(levels, *shape)`."""
        return self.array(name + TABLE)

    @property
    def densities(self) -> tuple[float, ...]:
        """Measured fraction of active nested weights at each level."""
        return measured_densities({name: self.index(name) for name in self.nested}, len(self.ladder))

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Inputs by name, without the level; the batch dimension is None."""
        return {spec.name: spec for spec in map(_spec, self.model.graph.inputs) if spec.name != LEVEL_INPUT}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Outputs by name."""
        return {spec.name: spec for spec in map(_spec, self.model.graph.outputs)}
