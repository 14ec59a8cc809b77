"""One level in training: hooks that mask gradients and give frozen weights their bits back after every step.

    backward          g[not trainable] = 0                       (before clipping, accumulation and reduction)
    optimizer.step    as always, weight decay and momentum included
    afterwards        W[frozen] = W*;   W[off] = 0               exact, whatever the optimiser did

Masking alone is defeated by weight decay, restoring alone by stale momentum: both are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from elsa_edge.errors import ElsaError, UsageError
from elsa_edge.training.context import Context
from elsa_edge.training.sparsifiers.base import Sparsifier

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["Stage"]


class Stage:
    """One level; `ElsaStages` makes it.

    Attributes:
        level: Its number, 0 the sparsest.
        name: Its name in the ladder.
        model: The network.
        context: Masks and targets.
        sparsifier: Chooses the mask.
    """

    def __init__(
        self,
        *,
        level: int,
        name: str,
        model: nn.Module,
        context: Context,
        sparsifier: Sparsifier,
        owned: Mapping[str, Tensor],
        shared: Mapping[str, Tensor],
        freeze_statistics: bool,
    ) -> None:
        import torch

        self.level, self.name, self.model = level, name, model
        self.context, self.sparsifier = context, sparsifier
        self._shared = dict(shared)
        self._named = dict(model.named_parameters())
        self._freeze_statistics = freeze_statistics
        zeros = {n: torch.zeros_like(p.detach()) for n, p in context.parameters.items()}
        self._base = {
            n: torch.where(context.frozen[n], owned[n], zeros[n]) if owned else zeros[n]
            for n in context.parameters
        }
        self._trainable: dict[str, Tensor | None] = {}
        self._blocked: dict[str, Tensor | None] = {}
        self._handles: list[Any] = []
        self.finished = False

    @property
    def dense(self) -> bool:
        """Whether this level uses every weight."""
        return self.context.density >= 1.0

    @property
    def density(self) -> float:
        """Fraction of nested weights that are active now."""
        masks = self.context.active.values()
        return sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    def attach(self, optimizer: torch.optim.Optimizer, *, state: str = "fresh") -> None:
        """Hook into an optimiser; call it once for each optimiser of the level, before the first step.

        Args:
            optimizer: Any; its parameters must be the network's. The first one attached counts the steps.
            state: `fresh` forgets momentum and moments of an optimiser that has stepped before; `masked`
                keeps them where weights are free.

        Raises:
            UsageError: When none of its parameters are the network's, or the level is over.
        """
        if self.finished:
            raise UsageError(f"Level {self.name} is over", fix="Attach to the stage that the loop gives now")
        if state not in ("fresh", "masked"):
            raise UsageError("The optimiser state is fresh or masked", found=repr(state))
        own = {id(parameter) for parameter in self._named.values()}
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if not any(id(parameter) in own for parameter in held):
            raise UsageError(
                "The optimiser has none of the network's parameters",
                fix="Make it from the same network that was given to elsa_stages, after moving it to its device",
            )
        moved = [n for n, p in self.context.parameters.items() if p.device != self.context.active[n].device]
        if moved:
            raise UsageError(
                "The network has moved to another device since elsa_stages",
                found=", ".join(moved[:3]),
                fix="Move it before elsa_stages",
            )
        self.context.optimizers.append(optimizer)
        if state == "fresh":
            for parameter in held:
                if id(parameter) in own:
                    optimizer.state.pop(parameter, None)
        else:
            for name, frozen in self.context.frozen.items():
                self.context.forget(name, frozen)
        if not self._handles:
            self._install()
        self._handles.append(optimizer.register_step_post_hook(self._after_step))
        if len(self.context.optimizers) == 1:
            self._handles.append(optimizer.register_step_pre_hook(self._before_step))
        self._refresh()
        self._restore()

    def _install(self) -> None:
        for name, parameter in self.context.parameters.items():
            if parameter.requires_grad:
                self._handles.append(_on_gradient(parameter, self._masking(name)))
        for name in self._shared:
            if self._named[name].requires_grad:
                self._handles.append(_on_gradient(self._named[name], _zeros))
        if self._freeze_statistics:
            from torch.nn.modules.batchnorm import _BatchNorm

            for module in self.model.modules():
                if isinstance(module, _BatchNorm):
                    self._handles.append(module.register_forward_pre_hook(_stay_in_evaluation))

    def _masking(self, name: str) -> Callable[[Tensor], Tensor | None]:
        def hook(gradient: Tensor) -> Tensor | None:
            context = self.context
            if context.wants_gradients:
                seen = context.gradients.get(name)
                context.gradients[name] = (
                    gradient.detach().clone() if seen is None else seen + gradient.detach()
                )
            blocked = self._blocked[name]
            return None if blocked is None else gradient.masked_fill(blocked, 0.0)

        return hook

    def _refresh(self) -> None:
        """Recompute the masks after `active` has changed."""
        if not self.context.changed:
            return
        for name, active in self.context.active.items():
            trainable = active & ~self.context.frozen[name]
            everything = bool(trainable.all())
            self._trainable[name] = None if everything else trainable
            blocked = self.context.frozen[name] if self.context.dense_gradients else ~trainable
            self._blocked[name] = blocked if bool(blocked.any()) else None
        self.context.changed = False

    def _restore(self) -> None:
        import torch

        with torch.no_grad():
            for name, trainable in self._trainable.items():
                if trainable is not None:
                    parameter = self.context.parameters[name]
                    torch.where(trainable, parameter, self._base[name], out=parameter.data)
            for name, value in self._shared.items():
                self._named[name].copy_(value)

    def _before_step(self, *_: object) -> None:
        if not self.dense:
            self.sparsifier.before_step(self.context)
            self._refresh()

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        if optimizer is self.context.optimizers[0]:
            self.context.step += 1
            if not self.dense:
                self.sparsifier.after_step(self.context)
                self._refresh()
        self._restore()

    def finish(self) -> None:
        """End the level: the mask reaches its target, hooks are removed. The loop over the stages calls it.

        Raises:
            UsageError: When no optimiser was attached.
            ElsaError: When weights have become NaN or infinite; nothing of the level is kept then.
        """
        import torch

        if self.finished:
            return
        if not self.context.optimizers:
            raise UsageError(
                f"Level {self.name} was not trained",
                fix="Call stage.attach(optimizer) before the training loop",
            )
        if not self.dense:
            self.sparsifier.finish(self.context)
        self._refresh()
        self._restore()
        self.detach()
        self._agree()
        tensors = {**self._named, **dict(self.model.named_buffers())}
        broken = [
            n for n, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())
        ]
        if broken:
            raise ElsaError(
                f"Training of level {self.name} has failed: weights are NaN or infinite",
                found=", ".join(broken[:5]),
                fix="Lower the learning rate or clip gradients",
            )
        self.finished = True

    def _agree(self) -> None:
        """Take tables, statistics and masks from process 0, so that every process has the same bits."""
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            return
        tensors = [*self.model.parameters(), *self.model.buffers(), *self.context.active.values()]
        for tensor in tensors:
            dist.broadcast(tensor.data, 0)

    def detach(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def state_dict(self) -> dict[str, Any]:
        """Return masks, counters and what the sparsifier has built up."""
        return {"context": self.context.state_dict(), "sparsifier": self.sparsifier.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self.context.load_state_dict(state["context"])
        self.sparsifier.load_state_dict(state["sparsifier"])


def _on_gradient(parameter: Tensor, hook: Callable[[Tensor], Tensor | None]) -> Any:
    return parameter.register_hook(hook)  # type: ignore[no-untyped-call]  # torch gives it no types


def _zeros(gradient: Tensor) -> Tensor:
    import torch

    return torch.zeros_like(gradient)


def _stay_in_evaluation(module: nn.Module, _inputs: object) -> None:
    module.training = False
