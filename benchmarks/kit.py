"""Make a kit for owners of boards: `python -m benchmarks.kit -o kit/`; docs/boards.md says what it is for.

A kit is a folder of bundles: each network with a ladder, in every variant that is compared, built and proved on this
machine for a 64-bit Pi. The networks learn to tell some made-up patterns apart first, for some seconds: no build takes
8 bits that change the answers, and those of a random network they do. Beside each lies the dense network as ncnn's
converter makes it, where `python -m benchmarks.peers install ncnn` was called. `--own` makes the small one that the
wheel carries, elsa_edge/board/kit.zip.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Final

import click
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.common.prepare import prepare, stays_dense
from benchmarks.common.sessions import INPUT
from benchmarks.networks import NETS
from benchmarks.networks.settle import IMAGE
from benchmarks.peers import PeerError, interpreter
from elsa_edge.build import build_bundle
from elsa_edge.errors import ElsaError
from elsa_edge.files import atomic_directory, write_bytes
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

__all__ = ["make_kit"]

_LADDER: Final = (0.9, 0.8, 0.0)
_VARIANTS: Final = ("ort-levels", "ort-int8", "ort-nested", "nested-int8", "tflite-levels", "tflite-int8")
_NETWORKS: Final = ("keyword", "mobilenet_v2", "resnet18")
_SAMPLES: Final = 16  # from which 8 bits take their ranges
_CLASSES: Final = 12
_NOISE: Final = 0.5
_STEPS: Final = 800
_STEPS_OF_IMAGES: Final = 60
_DEVICE: Final = "raspberry-pi-4"
_OWN: Final = Path(__file__).parents[1] / "elsa_edge" / "board" / "kit.zip"
_WHEN: Final = (2020, 1, 1, 0, 0, 0)  # the same content gives the same bytes


def make_kit(folder: Path, networks: tuple[str, ...], granularity: str) -> None:
    """Write a bundle of each network into a folder, and what ncnn takes."""
    for name in networks:
        net = NETS[name]
        with tempfile.TemporaryDirectory() as scratch:
            plain = prepare(name, Path(scratch)).plain
            model = net.factory()
            samples = _taught(model, net.input_shape)
            checkpoint = sparsify(
                model,
                _LADDER,
                allocation="uniform",
                granularity=granularity,
                exclude=stays_dense(model),
                data=[samples],
            )
            canonical = Path(scratch, f"{name}.canonical.onnx")
            specs = [TensorSpec("", net.input_shape)]
            export_canonical(checkpoint, model, specs).with_input_names(INPUT).save(canonical)
            _build(canonical, folder / name, name, {INPUT: samples[:_SAMPLES].numpy()})
            _for_ncnn(plain, net.input_shape, folder / name)


def _taught(model: torch.nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """Teach a network, at every sparsity, to tell patterns apart, one a class, below noise; return such inputs."""
    generator = torch.Generator().manual_seed(2)
    patterns = torch.randn((_CLASSES, *shape[1:]), generator=generator)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        classes = torch.arange(2 * _CLASSES) % _CLASSES
        noise = torch.randn((len(classes), *shape[1:]), generator=generator)
        return patterns[classes] + _NOISE * noise, classes

    steps = _STEPS if len(shape) < len(IMAGE) or shape[-1] < IMAGE[-1] else _STEPS_OF_IMAGES
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    sparsities = itertools.cycle(_LADDER)
    for _ in range(steps):
        inputs, classes = batch()
        outputs = torch.func.functional_call(model, _cut(model, next(sparsities)), (inputs,))
        loss = torch.nn.functional.cross_entropy(outputs, classes)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    model.eval()
    return batch()[0]


def _cut(model: torch.nn.Module, sparsity: float) -> dict[str, torch.Tensor]:
    """Return the weights with the smallest blocks of four input channels set to zero, where they can be cut."""
    dense, cut = stays_dense(model), {}
    for name, weight in model.named_parameters():
        if weight.dim() < 2 or name in dense or weight.shape[1] % 4 or not sparsity:
            continue
        blocks = weight.detach().abs().reshape(weight.shape[0], weight.shape[1] // 4, 4, -1).sum(2)
        limit = torch.quantile(blocks.flatten(), sparsity)
        mask = (blocks > limit).repeat_interleave(4, 1).reshape(weight.shape)
        cut[name] = weight * mask
    return cut


def _build(canonical: Path, destination: Path, name: str, golden: dict[str, npt.NDArray[np.float32]]) -> None:
    """Build every variant that can be built; the others are named."""
    wanted = list(_VARIANTS)
    while wanted:
        try:
            build_bundle(
                canonical,
                _DEVICE,
                destination,
                variants=wanted,
                golden=golden,
                name=name,
                progress=lambda line: click.echo(line, err=True),
            )
        except ElsaError as error:
            failed = next((variant for variant in wanted if variant in str(error)), None)
            if failed is None:
                raise
            click.echo(f"{name}: without {failed}: {error}", err=True)
            wanted.remove(failed)
        else:
            return


def _for_ncnn(plain: Path, shape: tuple[int, ...], beside: Path) -> None:
    try:
        converter = interpreter("ncnn").parent / "pnnx"
    except PeerError as error:
        click.echo(f"{beside.name}: nothing for ncnn: {error}", err=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copyfile(plain, Path(scratch, "net.onnx"))
        command = [str(converter), "net.onnx", f"inputshape=[{','.join(map(str, shape))}]"]
        subprocess.run(command, check=True, capture_output=True, cwd=scratch)
        target = beside.with_name(f"{beside.name}.ncnn")
        target.mkdir()
        for suffix in ("param", "bin"):
            shutil.copyfile(Path(scratch, f"net.ncnn.{suffix}"), target / f"net.{suffix}")


def _zipped(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as made:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _WHEN)
                made.writestr(entry, path.read_bytes(), zipfile.ZIP_LZMA)


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The kit's folder.")
@click.option("--network", "networks", multiple=True, type=click.Choice(sorted(NETS)), default=_NETWORKS)
@click.option("--granularity", default="1x4", show_default=True)
@click.option("--own", is_flag=True, help="Make the one that the wheel carries.")
def main(output: Path | None, networks: tuple[str, ...], granularity: str, own: bool) -> None:
    """Make a kit for owners of boards."""
    if (output is None) != own:
        raise click.UsageError("Say -o DIR, or --own")
    if output is not None:
        with atomic_directory(output) as folder:
            make_kit(folder, networks, granularity)
        return
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "kit")
        made.mkdir()
        make_kit(made, ("keyword",), granularity)
        _zipped(made, Path(scratch, "kit.zip"))
        write_bytes(_OWN, Path(scratch, "kit.zip").read_bytes())
        click.echo(f"{_OWN}: {_OWN.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
