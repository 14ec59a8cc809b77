"""How far a level's outputs are from the dense network's, to train on and to judge by.

    kl     T^2 * sum_c p_c log(p_c / q_c),   p, q = softmax(logits / T)   of the dense network and of the level
    mse    mean (y - t)^2 / var(t)           so that outputs of any scale weigh the same

    agreement of kl     share of inputs whose highest output is the same
    agreement of mse    1 - sum (y - t)^2 / sum (t - mean t)^2, the share of the variance that is reproduced

Distillation is arXiv 1503.02531; here the dense network is the teacher and no label is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import InputError, UsageError, first_line

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Agreement", "Distance", "outputs_of", "sureness"]

_LEAST_PROBABILITY: Final = 1e-8


def outputs_of(answer: Any) -> list[Tensor]:
    """Return the floating-point tensors of a network's answer, whatever they are wrapped in.

    Raises:
        UsageError: When there is none.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    found = [x for x in tree_leaves(answer) if isinstance(x, torch.Tensor) and x.is_floating_point()]
    if not found:
        raise UsageError("The network puts out no numbers that levels could learn to reproduce")
    return found


class Distance:
    """The loss between outputs of a level and of the dense network.

    Args:
        kind: `auto`, `kl`, `mse` or a function of both answers.
        temperature: Of `kl`.
        examples: Outputs of the dense network, one `(samples, ...)` tensor an output.

    Raises:
        InputError: When the dense network's outputs are NaN, infinite, or the same for every input.
        UsageError: When `kl` is asked for where no output is `(batch, classes)`.
    """

    def __init__(
        self, kind: str | Callable[[Any, Any], Any], temperature: float, examples: Sequence[Tensor]
    ) -> None:
        import torch

        self._own = None if isinstance(kind, str) else kind
        self._temperature = temperature
        for number, example in enumerate(examples):
            if not bool(torch.isfinite(example).all()):
                raise InputError(
                    f"Output {number} of the dense network is NaN or infinite on these inputs",
                    fix="Check the inputs and the checkpoint",
                )
        spreads = [float((e.double() - e.double().mean(0)).square().mean()) for e in examples]
        if not any(_says_something(s, e) for s, e in zip(spreads, examples, strict=True)):
            raise InputError(
                "The dense network answers every input alike: there is nothing to learn from its outputs",
                fix="Give inputs that differ, at the scale that the network was trained on",
            )
        classes = [example.dim() == 2 and example.shape[1] >= 2 for example in examples]
        if kind == "kl" and not any(classes):
            raise UsageError(
                "The loss kl needs an output (batch, classes)",
                found="; ".join("x".join(map(str, e.shape)) for e in examples),
                fix="Use mse",
            )
        self.kinds = ["kl" if c and kind != "mse" else "mse" for c in classes]
        self._probabilities = [c and _are_probabilities(e) for c, e in zip(classes, examples, strict=True)]
        self._scales = [s if _says_something(s, e) else 1.0 for s, e in zip(spreads, examples, strict=True)]

    def __call__(self, answer: Any, target: Any) -> Tensor:
        """Return the loss, a scalar."""
        if self._own is not None:
            return self._users(self._own, answer, target)
        total: Any = 0.0
        pairs = zip(outputs_of(answer), outputs_of(target), strict=True)
        for number, (found, expected) in enumerate(pairs):
            if self.kinds[number] == "kl":
                total = total + self._divergence(found, expected, probabilities=self._probabilities[number])
            else:
                total = total + (found - expected).square().mean() / self._scales[number]
        return total  # type: ignore[no-any-return]  # a tensor: there is at least one output

    @staticmethod
    def _users(own: Callable[[Any, Any], Any], answer: Any, target: Any) -> Tensor:
        """Return what a function of the user's makes of both answers.

        Raises:
            UsageError: When it fails, or makes anything but a scalar.
        """
        import torch

        name = getattr(own, "__name__", "of your own")
        try:
            made = own(answer, target)
        except Exception as error:  # a function of the user's may raise anything
            raise UsageError(
                f"The loss {name} failed ({first_line(error)})",
                expected="a function (level's outputs, dense outputs) -> scalar tensor",
            ) from error
        learns = torch.is_grad_enabled() and any(x.requires_grad for x in outputs_of(answer))
        if not isinstance(made, torch.Tensor):
            found = type(made).__name__
        elif made.numel() != 1:
            found = str(tuple(made.shape))
        elif learns and not made.requires_grad:
            found = "a tensor without gradients"
        else:
            return made.reshape(())
        raise UsageError(
            f"The loss {name} is nothing that can be made smaller",
            expected="a scalar tensor, computed by torch from the level's outputs",
            found=found,
        )

    def _divergence(self, found: Tensor, expected: Tensor, *, probabilities: bool) -> Tensor:
        import torch

        if probabilities:
            found, expected = (x.clamp(min=_LEAST_PROBABILITY).log() for x in (found, expected))
        q = torch.log_softmax(found / self._temperature, 1)
        p = torch.log_softmax(expected / self._temperature, 1)
        loss = torch.nn.functional.kl_div(q, p, log_target=True, reduction="batchmean")
        return loss * self._temperature**2

    def agreement(self) -> Agreement:
        """Return a fresh count of agreement."""
        return Agreement(self.kinds)


def sureness(outputs: Sequence[Tensor]) -> float:
    """Return how sure a network is of its answers: the mean highest share of classes, else the outputs' spread."""
    found = []
    for output in outputs:
        if output.dim() == 2 and output.shape[1] >= 2:
            shares = output if _are_probabilities(output) else output.softmax(1)
            found.append(float(shares.max(1).values.mean()))
        else:
            found.append(float((output.double() - output.double().mean(0)).square().mean().sqrt()))
    return min(found)


class Agreement:
    """Agreement of two sets of outputs, added up over batches."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self._kinds = kinds
        self._count = 0
        self._same = [0] * len(kinds)
        self._errors = [0.0] * len(kinds)
        self._squares = [0.0] * len(kinds)
        self._sums: list[Any] = [0.0] * len(kinds)

    def add(self, found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
        """Count a batch."""
        self._count += len(expected[0])
        for number, (y, t) in enumerate(zip(found, expected, strict=True)):
            if self._kinds[number] == "kl":
                self._same[number] += int((y.argmax(1) == t.argmax(1)).sum())
                continue
            self._errors[number] += float((y.double() - t.double()).square().sum())
            self._squares[number] += float(t.double().square().sum())
            self._sums[number] = self._sums[number] + t.double().sum(0)

    @property
    def value(self) -> float:
        """The agreement in [0, 1], the mean over outputs."""
        values = []
        for number, kind in enumerate(self._kinds):
            if kind == "kl":
                values.append(self._same[number] / self._count)
                continue
            spread = self._squares[number] - float(self._sums[number].square().sum()) / self._count
            error = self._errors[number]
            values.append(max(0.0, 1.0 - error / spread) if spread > 0.0 else float(error == 0.0))
        return sum(values) / len(values)


def _says_something(spread: float, example: Tensor) -> bool:
    """Whether outputs differ between inputs by more than rounding."""
    return spread > 1e-10 * max(1e-30, float(example.double().square().mean()))


def _are_probabilities(example: Tensor) -> bool:
    sums = example.sum(1)
    return bool((example >= 0).all()) and bool((sums - 1.0).abs().max() < 1e-3)
