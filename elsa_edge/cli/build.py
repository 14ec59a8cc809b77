"""`elsa-edge build`: a canonical graph becomes a proved bundle for a device."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from elsa_edge.cli._common import device_option, emit, json_option, new_file, say
from elsa_edge.cli._progress import telling

if TYPE_CHECKING:
    from elsa_edge.start_project import Platform

__all__ = ["command"]


@click.command(
    name="build",
    epilog="Example: elsa-edge build model.onnx --device raspberry-pi-5 -o bundle/",
)
@click.argument("model", type=click.Path(path_type=Path))
@device_option
@new_file(help="Folder of the bundle; an older bundle there is replaced.")
@click.option(
    "--variant", "variants", multiple=True, metavar="EXPORTER", help="Instead of the profile's; repeatable."
)
@click.option(
    "--golden", type=click.Path(path_type=Path), help="Real inputs (.npz, one array per input) to prove with."
)
@click.option("--name", help="Name of the bundle; by default the model file's.")
@click.option(
    "--sign",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Sign with this Ed25519 key of OpenSSH (or its .pub, when the agent holds it).",
)
@click.option(
    "--counter",
    type=click.IntRange(min=0),
    help="With --sign: must rise with every release. By default the time.",
)
@click.option(
    "--reroute",
    type=int,
    metavar="N",
    help="Cut the network into N segments (2 to 16); a running inference that will be late goes on sparser.",
)
@click.option(
    "--for",
    "platform",
    type=click.Choice(("android", "web", "cpp")),
    help="Write a start project with the bundle inside, instead of the bundle alone.",
)
@click.option(
    "-v", "--verbose", is_flag=True, help="Also say why rewrites of the graph leave places as they are."
)
@json_option
def command(
    *,
    model: Path,
    device: str,
    destination: Path,
    variants: tuple[str, ...],
    golden: Path | None,
    name: str | None,
    sign: Path | None,
    counter: int | None,
    reroute: int | None,
    platform: Platform | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Turn the canonical graph MODEL into a bundle for a device.

    Every variant is run here at every level and compared with the canonical graph before the bundle appears. What
    speaks for and against each variant is said on stderr; `elsa-edge preflight` says it of every exporter.

    With --for the folder is a small application around the bundle: a Gradle project, a page, or a CMake project. Its
    README.md says how it is built.
    """
    from elsa_edge.build import build_bundle
    from elsa_edge.graph.passes.refusals import told
    from elsa_edge.start_project import bundle_in, start_project

    with (
        told(say) if verbose else contextlib.nullcontext(),
        start_project(platform, destination, say)
        if platform
        else contextlib.nullcontext(destination) as place,
        telling("building") as tell,
    ):
        bundle = build_bundle(
            model,
            device,
            place,
            variants=variants or None,
            golden=golden,
            name=name,
            sign=sign,
            counter=counter,
            reroute=reroute,
            progress=tell,
        )
    size_bytes = sum(entry.size_bytes for entry in bundle.manifest.files)
    say(f"{destination}: {size_bytes / 1e6:.2f} MB, {len(bundle.ladder)} levels")
    emit(
        {
            "bundle": str(destination / bundle_in(platform) if platform else destination),
            "device": bundle.manifest.device,
            "variants": [variant.name for variant in bundle.manifest.variants],
            "size_bytes": size_bytes,
            "levels": [{"level": k} | level.model_dump() for k, level in enumerate(bundle.manifest.ladder)],
        },
        as_json=as_json,
    )
