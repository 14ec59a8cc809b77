"""The processes of one repair: torchrun starts several, each takes its share of every batch, all hold the same numbers.

    gradient = mean over processes of the gradients of their shares          one step of the whole batch
    statistics of BatchNorm = mean over processes                            each saw its own share

What is decided (is the loss finite, is this look better, is time over) the first process decides for all, so that no
rounding and no clock can lead them apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from elsa_edge.errors import RuntimeUnavailableError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Alone", "Group", "group", "is_first"]


class Alone:
    """One process on one device: nothing to agree on."""

    count, place = 1, 0

    def __init__(self, device: Any) -> None:
        self.device = device

    @property
    def first(self) -> bool:
        """Whether this process decides, reports and writes."""
        return self.place == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place."""

    def decided(self, *values: float) -> tuple[float, ...]:
        """Return the first process's values."""
        return values

    def wait(self) -> None:
        """Return when all processes are here."""


class Group(Alone):
    """Several processes under torchrun, joined by Accelerate as `elsa-edge train` joins them."""

    def __init__(self) -> None:
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise RuntimeUnavailableError(
                "Several processes need the package accelerate", fix="pip install 'elsa-edge[train]'"
            ) from error
        import torch

        self._state = PartialState(cpu=not torch.accelerator.is_available())
        super().__init__(self._state.device)
        self.count, self.place = self._state.num_processes, self._state.process_index

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Sum over the processes and divide, one message for all tensors."""
        import torch

        listed = list(tensors)
        if not listed:
            return
        with torch.no_grad():
            flat = torch.cat([tensor.reshape(-1) for tensor in listed])
            torch.distributed.all_reduce(flat)
            flat /= self.count
            for tensor, mean in zip(listed, torch.split(flat, [t.numel() for t in listed]), strict=True):
                tensor.copy_(mean.reshape(tensor.shape))

    def decided(self, *values: float) -> tuple[float, ...]:
        """Send the first process's values to all."""
        import torch

        sent = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(sent, src=0)
        return tuple(sent.tolist())

    def wait(self) -> None:
        """Wait for all."""
        self._state.wait_for_everyone()


def is_first() -> bool:
    """Whether this process is the one that reports and writes; known before the processes are joined."""
    return int(os.environ.get("RANK", "0")) == 0


def group() -> Alone:
    """Return the processes that torchrun started, or this one alone on the best device there is."""
    import torch

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Group()
    if torch.accelerator.is_available():
        return Alone(torch.accelerator.current_accelerator())
    return Alone(torch.device("cpu"))
