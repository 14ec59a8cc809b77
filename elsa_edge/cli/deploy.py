"""`elsa-edge deploy`: put a bundle into service on a device, or return to the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from elsa_edge.cli._common import emit, json_option, print_table, say

__all__ = ["command"]


@click.command("deploy", epilog="Example: elsa-edge deploy bundle/ --to pi5")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--to", "device", metavar="DEVICE", help="A device that `elsa-edge device add` has added.")
@click.option("--rollback", "back", is_flag=True, help="Return to the release before. Needs no BUNDLE.")
@click.option("--dry-run", is_flag=True, help="Say what would travel, and do nothing.")
@click.option(
    "--packages",
    type=click.Choice(["auto", "own", "bring"]),
    default="auto",
    show_default=True,
    help="Python packages: what the device has, or wheels that travel.",
)
@click.option(
    "--wheels", type=click.Path(path_type=Path), help="Bring the wheels of this folder; fetch none."
)
@click.option(
    "--trial",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Seconds of first runs there.",
)
@click.option(
    "--measure",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds of measuring there afterwards; its table comes home into the device's profile. 0: not at all.",
)
@click.option("--take-over", is_flag=True, help="Take the lock of a deployment that will not come back.")
@json_option
def command(
    *,
    bundle: Path | None,
    device: str | None,
    back: bool,
    dry_run: bool,
    packages: Literal["auto", "own", "bring"],
    wheels: Path | None,
    trial: float,
    measure: float,
    take_over: bool,
    as_json: bool,
) -> None:
    """Put BUNDLE into service on a device.

    Whether it can run there is found out before a byte is copied; only content that is not there yet travels; it is
    verified on the device at every level, switched in by one rename, and after failing first runs the device returns to
    what it served before by itself.
    """
    from elsa_edge.deploy import DeviceBook, Options, deploy, rollback
    from elsa_edge.errors import UsageError
    from elsa_edge.loading import default_cache

    if device is None or (bundle is None) != back:
        raise UsageError("Say what goes where", expected="BUNDLE --to DEVICE, or --rollback --to DEVICE")
    book = DeviceBook.default()
    target = book.get(device)
    options = Options(
        packages=packages, wheels=wheels, trial_s=trial, measure_s=measure, take_over=take_over, dry_run=dry_run,
        **({"cache": found} if (found := default_cache()) is not None else {}),
    )  # fmt: skip
    if bundle is None:
        emit(
            {"device": device, "state": "rolled back", "release": rollback(target, options, tell=say)},
            as_json=as_json,
        )
        return
    outcome = deploy(bundle, target, book.profile(device), options, tell=say)
    if outcome.profile is not None:
        book.save_profile(device, outcome.profile)
        say(f"Measured there; the table is in {book.profile_path(device)}")
        assert outcome.profile.measured is not None
        print_table(
            f"{device}, {outcome.profile.measured.variant}",
            ("level", "p50 ms", "p95 ms", "memory MB"),
            [
                (
                    row.name,
                    row.p50_ms,
                    row.p95_ms,
                    None if row.memory_bytes is None else row.memory_bytes / 1e6,
                )
                for row in outcome.profile.measured.levels
            ],
        )
    emit(outcome.as_json(), as_json=as_json)
