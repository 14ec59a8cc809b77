"""What the exporter knows of a layer: its weight with levels, what follows the sum, and the geometry of its images.

y = act(conv(x, W) * scale + bias + residual)      W_k = W where index <= k else 0;  scale, bias: a row per level
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from elsa_edge.nested_format.activations import Activation

__all__ = ["Geometry", "Layer", "Recurrent"]


@dataclass(frozen=True, slots=True)
class Geometry:
    """A 2-D convolution over images of known size; pairs are (vertical, horizontal)."""

    in_size: tuple[int, int]
    out_size: tuple[int, int]
    in_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int

    @property
    def keeps_size(self) -> bool:
        """Whether taps are plain offsets in the input: stride 1 and output as large as the input."""
        return self.stride == (1, 1) and self.in_size == self.out_size

    @property
    def input_gap(self) -> int:
        """Border that the input's planes need; with it a depthwise convolution of stride 2 needs no copy."""
        by_rows = self.groups == self.in_channels and self.stride[1] == 2
        return max(self.pads) if self.keeps_size or by_rows else 0

    @property
    def output_gap(self) -> int:
        """Border that the output's planes need for the computation itself."""
        return 0 if self.keeps_size else (self.kernel[1] - 1) * self.dilation[1] // self.stride[1]


@dataclass(frozen=True, slots=True)
class Recurrent:
    """The cells of a recurrent layer.

    Attributes:
        units: Numbers of a state.
        directions: 1 or 2.
        backward: Whether the only direction runs from the last step to the first.
        linear_before_reset: Of a GRU: its reset gate multiplies sums, not the state. None for an LSTM.
    """

    units: int
    directions: int
    backward: bool
    linear_before_reset: bool | None


@dataclass(frozen=True)
class Layer:
    """One convolution, matrix product or recurrent layer with what follows it.

    Attributes:
        position: Of its node in the graph; `absorbed` are the positions of the nodes that it computes as well.
        end: Position of the node whose output it produces.
        kind: "conv", "depthwise", "matmul" or "recurrent".
        weight: (rows, columns) float32, as at the densest level.
        index: (rows, columns) uint8 level index.
        table: (levels, 2, rows) float32 scale and bias.
        residual: (position, input number) where the value to add is read, if any.
        vectors: Of a product: how many vectors are multiplied at batch 1, as far as shapes tell.
        before: Of a recurrent layer, whose own weight multiplies the state: the product with its input, of all steps
            at once.
        cell: Of a recurrent layer.
    """

    name: str
    position: int
    end: int
    absorbed: tuple[int, ...]
    kind: str
    weight: npt.NDArray[np.float32]
    index: npt.NDArray[np.uint8]
    table: npt.NDArray[np.float32]
    activation: Activation
    residual: tuple[int, int] | None
    geometry: Geometry | None
    vectors: int = 1
    before: Layer | None = None
    cell: Recurrent | None = None

    @property
    def pixels(self) -> int:
        """Outputs of one row: positions of an image, or the vectors of a matrix product."""
        return self.geometry.out_size[0] * self.geometry.out_size[1] if self.geometry else self.vectors

    @property
    def products(self) -> tuple[Layer, ...]:
        """What is multiplied: the layer, or a recurrent layer's product with the input, then the layer."""
        return (self,) if self.before is None else (self.before, self)

    def density(self, level: int) -> float:
        """Return the active fraction of the weights at `level`."""
        active = sum(np.count_nonzero(product.index <= level) for product in self.products)
        return float(active / sum(product.index.size for product in self.products))
