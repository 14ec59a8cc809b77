"""The dense network that levels learn from: its answers, its features, and what it says about the held-out inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import UnknownNameError
from elsa_edge.repairing.answers import remembered_answers
from elsa_edge.repairing.checks import to
from elsa_edge.repairing.distance import Distance, outputs_of
from elsa_edge.repairing.samples import Arguments, Samples
from elsa_edge.repairing.settings import RepairSettings
from elsa_edge.sparsify.data import tensors_in
from elsa_edge.sparsify.statistics import DenseNorms, dense_norms, reestimate

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Features", "Teacher", "run"]

_LOOK: Final = 64


def run(network: nn.Module, arguments: Arguments, device: Any) -> Any:
    """Run a network on arguments, moved to its device."""
    positional, named = arguments
    return network(*(to(v, device) for v in positional), **{k: to(v, device) for k, v in named.items()})


class Teacher:
    """The dense network, and what it says about the held-out inputs.

    Args:
        network: In evaluation mode; never changed.
        samples: The inputs.
        settings: Loss and batch size.
        device: Where the network is.
    """

    def __init__(self, network: nn.Module, samples: Samples, settings: RepairSettings, device: Any) -> None:
        import torch

        self.network, self.device = network.eval(), device
        self._samples, self._size = samples, settings.batch_size
        self._remembered: Tensor | None = None
        self._norms: DenseNorms | None = None
        self._features = Features(network, settings.features)
        # By a size of its own: how copies are drawn must not depend on the batch that is trained on.
        self.held_out = [((tuple(a), dict(k)), self.answer((a, k))) for a, k in samples.held_out(_LOOK)]
        self.looked_at = sum(len(tensors_in(arguments)[0]) for arguments, _ in self.held_out)
        whole = [torch.cat(parts) for parts in zip(*(outputs_of(t) for _, t in self.held_out), strict=True)]
        self.distance = Distance(settings.loss, settings.temperature, whole)
        self.scales = {
            name: max(float(value.double().var()), 1e-30) for name, value in self._features.seen.items()
        }

    def remember(self, levels: int, steps: int, in_time: Callable[[], bool]) -> None:
        """Ask once for the answers that all steps need, where that pays; see `remembered_answers`.

        Args:
            levels: How many levels are to be repaired.
            steps: Of each, at most.
            in_time: Whether there is time for another batch.
        """
        if not self._features.seen:
            draws = levels * steps * self._size
            self._remembered = remembered_answers(
                self._samples, self.answer, draws=draws, batch_size=self._size, in_time=in_time
            )

    def lesson(self, level: int, step: int, *, share: int = 0, shares: int = 1) -> tuple[Arguments, Any]:
        """Return a step's batch, or a share of it, and the dense network's answer."""
        if self._remembered is None:
            arguments = self._samples.training(level, step, self._size, share=share, shares=shares)
            return arguments, self.answer(arguments)
        places = self._samples.places(level, step, self._size, share=share, shares=shares)
        return self._samples.take(places), self._remembered[places.to(self._remembered.device)]

    def answer(self, arguments: Arguments) -> Any:
        """Return the dense network's outputs."""
        import torch

        with torch.no_grad():
            return run(self.network, arguments, self.device)

    def estimate(self, level: nn.Module) -> None:
        """Estimate a level's BatchNorm statistics against this network's."""
        if self._norms is None:
            self._norms = dense_norms(self.network, self._samples.calibration(self._size))
        reestimate(level, self._samples.calibration(self._size), self._norms)

    @property
    def features(self) -> Mapping[str, Tensor]:
        """Outputs of the named modules in the last run."""
        return self._features.seen


class Features:
    """Outputs of named modules, as the network runs."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        modules = dict(network.named_modules())
        self.seen: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        for name in names:
            if name not in modules:
                raise UnknownNameError("module", name, (key for key in modules if key))
            self._handles.append(modules[name].register_forward_hook(self._hook(name)))

    def remove(self) -> None:
        """Watch no longer."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self.seen[name] = outputs_of(output)[0]

        return hook
