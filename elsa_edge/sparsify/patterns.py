"""Which weights live and die together: single weights, blocks of channels, N of M, whole channels.

A pattern turns the scores of a weight into scores of units, and a choice of units back into a mask.

    unstructured   unit = one weight
    4x1, 1x4, 4x4  unit = output x input channels, consecutive, at one place of the kernel; score = mean
    channel        unit = one output channel; score = mean
    n:m            in each group of M consecutive inputs of one output, the N highest; N = round(M * density)

Block and channel scores are means, not sums, so that units of different sizes compare fairly in a global
choice.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from elsa_edge.errors import LevelError, UsageError
from elsa_edge.sparsify.prunable import Prunable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GRANULARITIES", "Block", "Channel", "NofM", "Pattern", "Unstructured", "parse_pattern"]

GRANULARITIES = ("unstructured", "4x1", "1x4", "4x4", "channel", "N:M (such as 2:4)")


class Pattern(Protocol):
    """One granularity."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    def fits(self, weight: Prunable) -> str | None:
        """Return None when the pattern can be applied to `weight`, else the reason why it stays dense."""

    def to_units(self, weight: Prunable, values: Tensor) -> Tensor:
        """Return one score per unit, flat `(units,)`, from scores shaped like the weight; +inf wins."""

    def from_units(self, weight: Prunable, units: Tensor) -> Tensor:
        """Return the boolean mask of the weight's shape for a boolean choice `(units,)`."""

    def unit_sizes(self, weight: Prunable) -> Tensor:
        """Return how many weights each unit holds, int64 `(units,)`."""


@dataclass(frozen=True, slots=True)
class Unstructured:
    """Every weight for itself."""

    name: str = "unstructured"

    def fits(self, weight: Prunable) -> str | None:  # noqa: ARG002 - one protocol
        """Every weight fits."""
        return None

    def to_units(self, weight: Prunable, values: Tensor) -> Tensor:  # noqa: ARG002 - one protocol
        """Flatten."""
        return values.reshape(-1)

    def from_units(self, weight: Prunable, units: Tensor) -> Tensor:
        """Reshape."""
        return units.reshape(weight.shape)

    def unit_sizes(self, weight: Prunable) -> Tensor:
        """All ones, which take no memory."""
        import torch

        return torch.ones(1, dtype=torch.int64).expand(weight.size)


@dataclass(frozen=True, slots=True)
class Block:
    """`high` consecutive output by `wide` consecutive input channels at one place of the kernel, inside one group.

    Blocks at the end of a group may be smaller: kernels pad them.
    """

    high: int = 4
    wide: int = 1

    @property
    def name(self) -> str:
        """Output x input channels."""
        return f"{self.high}x{self.wide}"

    def fits(self, weight: Prunable) -> str | None:  # noqa: ARG002 - one protocol
        """Every weight fits: smaller blocks at the ends take what is left."""
        return None

    def _shape(self, weight: Prunable) -> tuple[int, int, int, int]:
        """Return (groups, output channels of a group, input channels of a group, places of the kernel)."""
        outputs, inputs = weight.row_shape[:2]
        places = weight.size // (outputs * inputs)
        if weight.kind == "conv" and outputs // weight.groups < self.high:
            # A depthwise layer has one output per group: blocks then run across groups, as runtimes store it.
            return 1, outputs, inputs, places
        return weight.groups, outputs // weight.groups, inputs, places

    def _sum(self, weight: Prunable, values: Tensor) -> Tensor:
        import torch

        groups, out, inputs, places = self._shape(weight)
        rows, columns = math.ceil(out / self.high), math.ceil(inputs / self.wide)
        padded = torch.zeros(
            groups, rows * self.high, columns * self.wide, places, dtype=values.dtype, device=values.device
        )
        padded[:, :out, :inputs] = weight.rows(values).reshape(groups, out, inputs, places)
        blocks = padded.reshape(groups, rows, self.high, columns, self.wide, places)
        return blocks.sum((2, 4)).reshape(-1)

    def to_units(self, weight: Prunable, values: Tensor) -> Tensor:
        """Mean over each block."""
        return self._sum(weight, values) / self.unit_sizes(weight).to(values.device)

    def from_units(self, weight: Prunable, units: Tensor) -> Tensor:
        """Repeat each choice over its block."""
        groups, out, inputs, places = self._shape(weight)
        blocks = units.reshape(groups, math.ceil(out / self.high), math.ceil(inputs / self.wide), places)
        wide = blocks.repeat_interleave(self.high, 1)[:, :out].repeat_interleave(self.wide, 2)[:, :, :inputs]
        return weight.from_rows(wide.reshape(weight.row_shape))

    def unit_sizes(self, weight: Prunable) -> Tensor:
        """`high` times `wide`, or what is left for blocks at the ends."""
        import torch

        return self._sum(weight, torch.ones(weight.shape, dtype=torch.int64))


@dataclass(frozen=True, slots=True)
class Channel:
    """Whole output channels."""

    name: str = "channel"

    def fits(self, weight: Prunable) -> str | None:
        """Recurrent and attention rows are gates and heads, not channels."""
        if weight.kind in ("recurrent", "attention"):
            return f"a row of {weight.kind} weights is not an output channel"
        if weight.traced:
            return "which bias and norm belong to its channels is not known"
        return None

    def to_units(self, weight: Prunable, values: Tensor) -> Tensor:
        """Mean over each output channel."""
        return weight.rows(values).flatten(1).mean(1)

    def from_units(self, weight: Prunable, units: Tensor) -> Tensor:
        """Repeat each choice over its channel."""
        rows = weight.rows(units.new_empty(weight.shape))
        return weight.from_rows(units.reshape(-1, *(1,) * (rows.dim() - 1)).expand(rows.shape).contiguous())

    def unit_sizes(self, weight: Prunable) -> Tensor:
        """Inputs times kernel positions, for every channel."""
        import torch

        outputs = weight.row_shape[0]
        return torch.full((outputs,), weight.size // outputs, dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class NofM:
    """The N highest in each group of M consecutive inputs; N follows from the level: N / M = density.

    Units here are single weights; `select` chooses inside the groups instead of freely.
    """

    group_size: int
    kept: int | None = None
    name: str = "n:m"

    def fits(self, weight: Prunable) -> str | None:
        """The inputs of one output must fill whole groups."""
        inputs = self._inputs(weight)
        if inputs % self.group_size:
            return f"its {inputs} inputs do not divide into groups of {self.group_size}"
        return None

    @staticmethod
    def _inputs(weight: Prunable) -> int:
        return weight.row_shape[1]

    def kept_at(self, density: float) -> int:
        """Return N for a density.

        Raises:
            LevelError: When no whole N gives that density.
        """
        kept = round(density * self.group_size)
        if kept < 1 or abs(kept - density * self.group_size) > 1e-6:
            reachable = [f"{1 - n / self.group_size:g}" for n in range(1, self.group_size + 1)]
            raise LevelError(
                f"A sparsity of {1 - density:g} cannot be reached by N of {self.group_size}",
                allowed=reachable,
            )
        return kept

    def groups(self, weight: Prunable, values: Tensor) -> Tensor:
        """Return values as `(groups, group_size)`; groups run along the inputs, the kernel is outside."""
        return weight.rows(values).movedim(1, -1).reshape(-1, self.group_size)

    def to_units(self, weight: Prunable, values: Tensor) -> Tensor:
        """Flatten group after group."""
        return self.groups(weight, values).reshape(-1)

    def from_units(self, weight: Prunable, units: Tensor) -> Tensor:
        """Undo `to_units`."""
        rows = weight.rows(units.new_empty(weight.shape))
        moved = rows.movedim(1, -1)
        return weight.from_rows(units.reshape(moved.shape).movedim(-1, 1).contiguous())

    def unit_sizes(self, weight: Prunable) -> Tensor:
        """All ones, which take no memory."""
        import torch

        return torch.ones(1, dtype=torch.int64).expand(weight.size)


def parse_pattern(text: str, sparsities: tuple[float, ...]) -> Pattern:
    """Read a granularity from its command-line form.

    Args:
        text: `unstructured`, `4x1` (old name `block`), `1x4`, `4x4`, `channel` or N:M, such as `2:4`.
        sparsities: The ladder; with N:M each must be 1 - n / M, and one must be 1 - N / M.

    Raises:
        UsageError: When there is no such granularity or the ladder does not fit it.
    """
    plain: dict[str, Pattern] = {
        "unstructured": Unstructured(),
        "channel": Channel(),
        "block": Block(),
        "4x1": Block(),
        "1x4": Block(1, 4),
        "4x4": Block(4, 4),
    }
    if text in plain:
        return plain[text]
    match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", text)
    if match is None:
        raise UsageError(f"There is no granularity named {text!r}", allowed=GRANULARITIES)
    kept, group_size = int(match[1]), int(match[2])
    if kept >= group_size:
        raise UsageError("In N:M, N must be below M", found=text)
    pattern = NofM(group_size, kept, text)
    densities = [pattern.kept_at(1.0 - sparsity) for sparsity in sparsities]
    if kept not in densities:
        raise LevelError(
            f"No level of the ladder is {text}",
            expected=f"the sparsity {1 - kept / group_size:g} among the levels",
            found=", ".join(f"{s:g}" for s in sparsities),
        )
    return pattern
