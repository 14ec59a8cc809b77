"""ASNI-II: a trained sparse network boiled down to its masks and two numbers a layer, from which it is trained again.

    c+ = mean of the positive weights,  c- = mean of the negative ones      (zeros excluded), a layer
    start:  w > 0 -> c+,   w < 0 -> c-,   off -> 0;   biases 0;   BatchNorm scale 1, bias 0

The file holds 2 L numbers, one bit per weight for the mask and one a kept weight for the sign. Source: arXiv
2202.09284.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import CheckpointError
from elsa_edge.files import atomic_file

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["CompressedInit"]

_FORMAT: Final = "asni-2"
_CENTRES, _MASK, _SIGN, _SHAPE = ".centres", ".mask_bits", ".sign_bits", ".shape"


@dataclass(frozen=True)
class CompressedInit:
    """Masks, signs and two numbers a layer.

    Attributes:
        masks: Boolean array of each weight.
        signs: Boolean array of each weight, True where positive; False where off.
        centres: (c-, c+) of each weight.
    """

    masks: Mapping[str, npt.NDArray[np.bool_]]
    signs: Mapping[str, npt.NDArray[np.bool_]]
    centres: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, weights: Mapping[str, npt.NDArray[np.float32]]) -> CompressedInit:
        """Compress trained sparse weights;

        what is zero counts as off. A sign that does not occur has centre 0.
        """
        masks = {name: weight != 0 for name, weight in weights.items()}
        signs = {name: weight > 0 for name, weight in weights.items()}
        centres = {}
        for name, weight in weights.items():
            negative, positive = weight[weight < 0], weight[weight > 0]
            centres[name] = (
                float(negative.mean(dtype=np.float64)) if negative.size else 0.0,
                float(positive.mean(dtype=np.float64)) if positive.size else 0.0,
            )
        return cls(masks, signs, centres)

    def values(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the weights to start from."""
        found = {}
        for name, mask in self.masks.items():
            low, high = self.centres[name]
            signed = np.where(self.signs[name], np.float32(high), np.float32(low))
            found[name] = np.where(mask, signed, np.float32(0.0)).astype(np.float32)
        return found

    def apply(self, model: nn.Module) -> dict[str, Tensor]:
        """Set the network to the compressed start.

        Weights without a mask, running statistics and other buffers stay as they are.

        Returns:
            The masks, for `FixedMask`.

        Raises:
            CheckpointError: When names or shapes do not fit the network.
        """
        import torch
        from torch.nn.modules.batchnorm import _BatchNorm

        named = dict(model.named_parameters())
        wrong = [n for n, m in self.masks.items() if n not in named or tuple(named[n].shape) != m.shape]
        if wrong:
            raise CheckpointError("The compressed start does not fit the network", found=", ".join(wrong[:8]))
        with torch.no_grad():
            for name, value in self.values().items():
                named[name].copy_(torch.from_numpy(value))
            for name, parameter in named.items():
                if name.rpartition(".")[2].startswith("bias"):
                    parameter.zero_()
            for module in model.modules():
                if isinstance(module, _BatchNorm) and module.weight is not None:
                    module.weight.fill_(1.0)
        return {name: torch.from_numpy(mask.copy()) for name, mask in self.masks.items()}

    def save(self, path: Path) -> None:
        """Write a `.safetensors` file atomically."""
        from safetensors.numpy import save_file

        tensors: dict[str, npt.NDArray[np.generic]] = {}
        for name, mask in self.masks.items():
            tensors[name + _CENTRES] = np.array(self.centres[name], np.float32)
            tensors[name + _MASK] = np.packbits(mask.reshape(-1))
            tensors[name + _SIGN] = np.packbits(self.signs[name][mask])
            tensors[name + _SHAPE] = np.array(mask.shape, np.int64)
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, {"elsa_edge.init": _FORMAT})

    @classmethod
    def load(cls, path: Path) -> CompressedInit:
        """Read a file that `save` wrote.

        Raises:
            CheckpointError: When it is missing, damaged or something else.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise CheckpointError(f"There is no compressed start at {path}")
        try:
            with safe_open(path, framework="numpy") as stream:
                kind = (stream.metadata() or {}).get("elsa_edge.init")
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read as a safetensors file ({error})") from error
        if kind != _FORMAT:
            raise CheckpointError(f"{path} is not a compressed start", expected=f"elsa_edge.init = {_FORMAT}")
        names = [name.removesuffix(_CENTRES) for name in tensors if name.endswith(_CENTRES)]
        masks, signs, centres = {}, {}, {}
        try:
            for name in names:
                shape = tuple(int(size) for size in tensors[name + _SHAPE])
                mask = (
                    np.unpackbits(tensors[name + _MASK], count=int(np.prod(shape)))
                    .astype(bool)
                    .reshape(shape)
                )
                sign = np.zeros(shape, bool)
                sign[mask] = np.unpackbits(tensors[name + _SIGN], count=int(mask.sum())).astype(bool)
                low, high = tensors[name + _CENTRES]
                masks[name], signs[name], centres[name] = mask, sign, (float(low), float(high))
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged ({error})") from error
        return cls(masks, signs, centres)
