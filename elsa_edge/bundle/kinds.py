"""What an exporter tells an adapter, for each kind of variant that is one network; see `instructions.py` for all kinds.

Only what a machine needs to run the variant stands here; what people may want to know goes into the variant's `notes`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator

from elsa_edge.tensors import TO_NHWC

__all__ = [
    "OTHER",
    "Dtype",
    "FileLayout",
    "Levels",
    "Nested",
    "Other",
    "Port",
    "Selector",
    "Strict",
    "Switch",
    "TfliteFiles",
    "TfliteSignatures",
    "by_kind",
    "level_role",
    "plain_files",
    "plain_role",
]

Dtype = Literal["float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"]
FileLayout = Literal["NHWC", "same"]

_MODEL: Final = "model"
OTHER: Final = "other:"


def level_role(level: int) -> str:
    """Return the role of the file (or the name of the signature) that holds one level."""
    return f"level_{level}"


def plain_role(level: int) -> str:
    """Return the role of a level's plain network, which may lie beside a file that has all levels.

    It computes what that file computes at this level, without looking the level up: on networks of a fraction of a
    millisecond that is noticed. Readers may ignore it.
    """
    return f"level_plain_{level}"


def plain_files(levels: Collection[int]) -> dict[str, str]:
    """Return role -> file name of the plain networks of levels."""
    return {plain_role(level): f"{plain_role(level)}.onnx" for level in levels}


class Strict(BaseModel):
    """Instructions hold the keys of their kind and no others; most kinds have one file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def roles(self, level_count: int) -> tuple[str, ...]:  # noqa: ARG002 - most kinds have one file
        """Return the roles that must have a file in a variant of so many levels."""
        return (_MODEL,)


class Selector(Strict):
    """The canonical graph as it is. The file `model` has an int64 scalar input `level`."""

    kind: Literal["selector"] = "selector"


class Switch(Strict):
    """An If cascade over the level. The file `model` has an int64 scalar input `level`; it may be optimised once."""

    kind: Literal["switch"] = "switch"


class Levels(Strict):
    """A network per level: the files `level_0`, `level_1`, ...; more files may hold what they share."""

    kind: Literal["levels"] = "levels"

    def roles(self, level_count: int) -> tuple[str, ...]:
        """Return a role per level."""
        return tuple(level_role(level) for level in range(level_count))


class Nested(Strict):
    """Custom operators over segments in the file `data`. Each choice of kernels is a graph with an input `level`.

    Attributes:
        choices: Roles of those graphs, the preferred one first.
        nested_layers: Per level, the layers that the first choice computes with nested kernels; none: plainly dense.
            Names of the canonical graph, which not every bundle has: a reader cannot look them up.
    """

    kind: Literal["nested"] = "nested"
    choices: tuple[str, ...] = Field(min_length=1, max_length=8)  # verify runs them all
    nested_layers: tuple[tuple[Annotated[str, Field(min_length=1)], ...], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Nested:
        if len(set(self.choices)) != len(self.choices):
            raise ValueError("two choices of kernels have the same name")
        if any(len(set(layers)) != len(layers) for layers in self.nested_layers):
            raise ValueError("a level names one nested layer twice")
        return self

    def roles(self, level_count: int) -> tuple[str, ...]:
        """Return the choices and the data they share."""
        if len(self.nested_layers) != level_count:
            raise ValueError(f"nested_layers must have one entry per level, {level_count} in all")
        return (*self.choices, "data")


class Port(Strict):
    """An input or output of a TFLite file against that of the canonical graph.

        canonical (N, C, H, W)  --layout NHWC-->  file (n, H, W, C)      n is the batch that the file was converted for
        canonical (N, ...)      --layout same-->  file (n, ...)

    Attributes:
        name: Its name in the canonical graph; also its name in the file's signatures.
        shape: Canonical shape, None where any size is allowed (the batch).
        dtype: Canonical numpy type.
        layout: "NHWC" when the file has the channels last, else "same".
        file_shape: Shape in the file.
        file_dtype: Type in the file; the adapter converts.
    """

    name: str
    shape: tuple[Annotated[int, Field(ge=0)] | None, ...]
    dtype: Dtype
    layout: FileLayout
    file_shape: tuple[Annotated[int, Field(ge=0)], ...]
    file_dtype: Dtype

    @property
    def batch_axis(self) -> int | None:
        """The dimension of `shape` along which samples are stacked, the one of any size; None where there is none."""
        return self.shape.index(None) if None in self.shape else None

    @property
    def file_batch(self) -> int | None:
        """How many samples the file takes at once; None where none are stacked."""
        axis = self.batch_axis
        if axis is None:
            return None
        return self.file_shape[TO_NHWC.index(axis) if self.layout == "NHWC" else axis]

    @model_validator(mode="after")
    def _shapes_fit(self) -> Port:
        if self.shape.count(None) > 1:
            raise ValueError(f"{self.name}: only the batch may have any size")
        if len(self.shape) != len(self.file_shape):
            raise ValueError(f"{self.name}: shape and file_shape must have the same number of axes")
        if self.layout == "NHWC" and len(self.shape) != 4:
            raise ValueError(f"{self.name}: layout NHWC needs four axes, and shape has {len(self.shape)}")
        return self


class _Tflite(Strict):
    """What both packagings of TFLite have.

    Attributes:
        batch: Batch that the files were converted for; other batches run in pieces of it.
        stateful: Recurrent kernels keep their state from run to run and must be reset.
        inputs: Inputs, in the canonical graph's order.
        outputs: Outputs, likewise.
    """

    batch: int = Field(ge=1)
    stateful: bool
    inputs: tuple[Port, ...] = Field(min_length=1)
    outputs: tuple[Port, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _free_batches_are_the_files(self) -> _Tflite:
        for port in (*self.inputs, *self.outputs):
            if port.file_batch not in (None, self.batch):
                raise ValueError(
                    f"{port.name}: file_shape must have the batch, {self.batch}, where shape is free"
                )
        return self


class TfliteFiles(_Tflite):
    """A `.tflite` per level, with one signature each: the files `level_0`, `level_1`, ..."""

    kind: Literal["tflite-files"] = "tflite-files"

    def roles(self, level_count: int) -> tuple[str, ...]:
        """Return a role per level."""
        return tuple(level_role(level) for level in range(level_count))


class TfliteSignatures(_Tflite):
    """One `.tflite`, the file `model`, with a signature per level: `level_0`, `level_1`, ..."""

    kind: Literal["tflite-signatures"] = "tflite-signatures"


class Other(Strict):
    """Instructions of a third party's exporter to its adapter.

    Attributes:
        kind: "other:" and a name.
        settings: JSON values that its adapter understands.
    """

    kind: str = Field(pattern=r"^other:[A-Za-z0-9._-]+$")
    settings: dict[str, Any] = Field(default_factory=dict)

    def roles(self, level_count: int) -> tuple[str, ...]:  # noqa: ARG002 - only its adapter knows
        """Return none: which files there must be is between the exporter and the adapter."""
        return ()


def by_kind(expected: str) -> Discriminator:
    """Choose the class that reads instructions by their kind; another kind is answered with what was `expected`."""
    return Discriminator(
        _tag_of, custom_error_type="unknown_kind", custom_error_message=f"expected {expected}"
    )


def _tag_of(value: object) -> str | None:
    """Return the tag of the class that reads instructions, or None where no class does."""
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    if not isinstance(kind, str):
        return None
    return OTHER if kind.startswith(OTHER) else kind
