"""The custom operators that nested layers become: their names, and what their attributes are called.

A node is described here and nowhere else; the kernels read the same names (native/*.cpp), and a test takes each one
away from a node and expects the library to miss it. All attributes are integers but `low` and `high`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from elsa_edge.nested_format.activations import Activation
from elsa_edge.nested_format.planes import Planes

__all__ = [
    "CONV",
    "CONV_DEPTHWISE",
    "DEPTHWISE",
    "DOMAIN",
    "FLOATS",
    "FROM_PLANES",
    "GRU",
    "GRU8",
    "HALVES",
    "LSTM",
    "LSTM8",
    "MATMUL",
    "TO_PLANES",
    "Attributes",
    "Family",
    "Window",
    "cell_attributes",
    "channel_attributes",
    "finish_attributes",
    "following",
    "matmul_attributes",
    "plane_attributes",
]

DOMAIN: Final = "elsa.nested"
TO_PLANES: Final = "PlanesFromImage"
FROM_PLANES: Final = "ImageFromPlanes"
CONV: Final = "NestedConv"
DEPTHWISE: Final = "NestedDepthwise"
CONV_DEPTHWISE: Final = "NestedConvDepthwise"
MATMUL: Final = "NestedMatMul"
LSTM: Final = "NestedLstm"
GRU: Final = "NestedGru"
LSTM8: Final = "Int8Lstm"
GRU8: Final = "Int8Gru"


@dataclass(frozen=True, slots=True)
class Family:
    """The operators over planes of one kind of units.

    Attributes:
        element: What ONNX calls the type of a plane's units.
        max_pool: The largest of each window; empty where the runtime's own, over images, serves.
    """

    element: str
    to_planes: str
    from_planes: str
    conv: str
    depthwise: str
    conv_depthwise: str
    matmul: str
    max_pool: str = ""


FLOATS: Final = Family("FLOAT", TO_PLANES, FROM_PLANES, CONV, DEPTHWISE, CONV_DEPTHWISE, MATMUL)
HALVES: Final = Family(
    "FLOAT16", "Float16FromImage", "ImageFromFloat16", "Float16Conv", "Float16Depthwise", "Float16ConvDepthwise",
    "Float16MatMul", "Float16MaxPool",
)  # fmt: skip

# Name -> value. A dict and no mapping: the builders of nodes ask for one.
Attributes = dict[str, int | float]


@dataclass(frozen=True, slots=True)
class Window:
    """The geometry of a convolution between two layouts; pairs are (vertical, horizontal).

    Attributes:
        source: Layout of what it reads.
        made: Layout of what it makes.
        pads: Zeros above and to the left of the source; those below and to the right follow from the sizes.
    """

    source: Planes
    made: Planes
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)

    def attributes(self) -> Attributes:
        """Return the attributes of a convolution's geometry."""
        named: Attributes = {}
        for side, planes in (("in", self.source), ("out", self.made)):
            named |= {f"{side}_h": planes.height, f"{side}_w": planes.width, f"{side}_gap": planes.gap}
        for name, (down, right) in (
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
        ):
            named |= {f"{name}_h": down, f"{name}_w": right}
        return named | {"pad_top": self.pads[0], "pad_left": self.pads[1]}


def plane_attributes(planes: Planes) -> Attributes:
    """Return the attributes of `TO_PLANES` and `FROM_PLANES`."""
    return {"h": planes.height, "w": planes.width, "gap": planes.gap}


def finish_attributes(activation: Activation) -> Attributes:
    """Return the attributes of what follows a sum."""
    return {"activation": int(activation.kind), "low": activation.low, "high": activation.high}


def channel_attributes(in_channels: int, out_channels: int, groups: int) -> Attributes:
    """Return the attributes of a sparse convolution's channels; `DEPTHWISE` has only `in_channels`."""
    return {"in_channels": in_channels, "out_channels": out_channels, "groups": groups}


def matmul_attributes(rows: int, columns: int) -> Attributes:
    """Return the attributes of a product with a (rows, columns) weight."""
    return {"rows": rows, "columns": columns}


def cell_attributes(
    units: int, directions: int, *, backward: bool, linear_before_reset: bool | None = None
) -> Attributes:
    """Return the attributes of a layer of LSTM cells, or with `linear_before_reset` of GRU cells.

    Args:
        units: Numbers of a state.
        directions: 1 or 2.
        backward: Whether the only direction runs from the last step to the first.
        linear_before_reset: Of a GRU: its reset gate multiplies sums, not the state.
    """
    named: Attributes = {"units": units, "directions": directions, "backward": int(backward)}
    if linear_before_reset is not None:
        named["linear_before_reset"] = int(linear_before_reset)
    return named


def following(attributes: Attributes) -> Attributes:
    """Return the attributes of the depthwise convolution inside `CONV_DEPTHWISE`."""
    return {f"depthwise_{name}": value for name, value in attributes.items()}
