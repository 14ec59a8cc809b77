"""What is trained on: datasets from the user's factory, the loss, the metric, and batches in an order a seed decides.

The order of batches depends on seed, segment and epoch alone, never on how far the generator has run: a
training that was killed goes on with the very batches that were to come, and every process takes its own
share of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elsa_edge.errors import InputError, UsageError
from elsa_edge.factory import call_factory, load_factory

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Task", "call_model", "load_task", "to_device"]


@dataclass(frozen=True)
class Task:
    """Train and test set of (inputs, targets) pairs, the loss `(outputs, targets) -> scalar` and the metric.

    The metric returns a score in [0, 1] a sample, or their mean.
    """

    train: Any
    test: Any
    loss: Callable[[Any, Any], Tensor]
    metric: Callable[[Any, Any], Tensor]

    def steps(self, batch_size: int) -> int:
        """Return the whole batches of an epoch; what is left over comes up in another epoch."""
        return max(1, len(self.train) // batch_size)

    def batches(
        self, batch_size: int, order_seed: int, *, start: int = 0, share: int = 0, shares: int = 1
    ) -> Iterator[Any]:
        """Yield batches of the train set.

        Args:
            batch_size: Samples of a batch over all processes.
            order_seed: Decides the order.
            start: Batches to leave out at the front.
            share: Number of this process.
            shares: Number of processes.
        """
        import torch

        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(order_seed))
        for number in range(start, self.steps(batch_size)):
            picked = order[number * batch_size : (number + 1) * batch_size]
            yield _collate(self.train, picked[share::shares])

    def test_batches(self, batch_size: int = 500) -> Iterator[Any]:
        """Yield the test set in order."""
        import torch

        for start in range(0, len(self.test), batch_size):
            yield _collate(self.test, torch.arange(start, min(start + batch_size, len(self.test))))


def _collate(dataset: Any, picked: Tensor) -> Any:
    from torch.utils.data import TensorDataset, default_collate

    if isinstance(dataset, TensorDataset):  # the same result, without a Python call a sample
        return [tensor[picked] for tensor in dataset.tensors]
    if hasattr(dataset, "take"):  # the dataset's own way to make a whole batch
        return dataset.take(picked)
    return default_collate([dataset[int(index)] for index in picked])


def _accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(-1) == targets).float()


def load_task(data: str, loss: str = "cross_entropy", metric: str = "accuracy") -> Task:
    """Load what a data factory makes: `(train, test)`, or a mapping with these keys; datasets of (inputs, targets).

    Raises:
        UsageError: When a factory cannot be loaded or makes something else.
        InputError: When the data are empty.
    """
    from torch.nn.functional import cross_entropy

    made = call_factory(data)
    if isinstance(made, Mapping):
        made = (made.get("train"), made.get("test"))
    fits = isinstance(made, (tuple, list)) and len(made) == 2
    if not fits or not all(hasattr(part, "__len__") and hasattr(part, "__getitem__") for part in made):
        raise UsageError(
            f"{data} returned no data",
            expected="(train, test): datasets with len() and [i] -> (inputs, targets)",
            found=type(made).__name__,
        )
    if min(len(made[0]), len(made[1])) == 0:
        raise InputError(f"{data} made an empty dataset")
    loss_of = cross_entropy if loss == "cross_entropy" else load_factory(loss)
    metric_of = _accuracy if metric == "accuracy" else load_factory(metric)
    return Task(made[0], made[1], loss_of, metric_of)


def to_device(value: Any, device: Any) -> Any:
    """Move tensors inside tuples, lists and mappings."""
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(to_device(item, device) for item in value)
    return value


def call_model(model: Any, inputs: Any) -> Any:
    """Call with one tensor, a tuple of positional or a mapping of keyword inputs."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)
