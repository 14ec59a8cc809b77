"""`elsa-edge verify`: check a bundle with nothing but the bundle."""

from __future__ import annotations

from pathlib import Path

import click

from elsa_edge.cli._common import cache_option, emit, json_option, print_table
from elsa_edge.cli._progress import telling
from elsa_edge.errors import BundleError

__all__ = ["command"]


@click.command(name="verify", epilog="Example: elsa-edge verify bundle/")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--device",
    metavar="NAME_OR_YAML",
    help="Runtime settings to verify with; by default those of the bundle.",
)
@click.option(
    "--require-signature",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Refuse the bundle unless this public key signed it: a file, or its line. Repeatable.",
)
@click.option(
    "--counter",
    type=click.Path(path_type=Path),
    help="With --require-signature: the file in which this device keeps the newest counter it has accepted.",
)
@click.option(
    "--accept",
    type=click.Path(path_type=Path),
    help="With --counter: write here what the counter file must hold once the bundle is in service.",
)
@cache_option
@json_option
def command(
    *,
    bundle: Path,
    device: str | None,
    keys: tuple[str, ...],
    counter: Path | None,
    accept: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Check the hashes of BUNDLE, and the numbers of every variant at every level."""
    from elsa_edge.bundle.signature import Accepted
    from elsa_edge.files import write_bytes
    from elsa_edge.verify import verify_bundle

    if counter is not None and not keys:
        raise click.UsageError("--counter means something only with --require-signature")
    accepted = Accepted.parse(counter.read_text()) if counter is not None and counter.exists() else None
    with telling("verifying") as tell:
        result = verify_bundle(
            bundle, device=device, cache=cache, trusted_keys=keys, accepted=accepted, progress=tell
        )
    if accept is not None and result.ok and result.accepted is not None:
        write_bytes(accept, result.accepted.render().encode())
    for variant in result.variants:
        if variant.skipped is None:
            print_table(
                variant.name,
                ("level", "largest difference", "allowed", "agreement", "ok"),
                [
                    (f"{k.level} {k.name}", k.max_difference, k.allowed, k.agreement, "yes" if k.ok else "NO")
                    for k in variant.levels
                ],
            )
    emit(result.as_json(), as_json=as_json)
    if not result.ok:
        bad = [
            f"{variant.name} level {level.level}"
            for variant in result.variants
            for level in variant.levels
            if not level.ok
        ]
        raise BundleError(
            "The bundle does not compute what it should on this machine",
            found=", ".join(bad),
            fix="Do not use it here; build it again, or report it",
        )
