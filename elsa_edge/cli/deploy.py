"""`elsa-edge deploy`: put a bundle into service on devices, return to the one before, or hand it to a fleet tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from elsa_edge.cli._common import emit, json_option, print_table, say
from elsa_edge.cli._progress import telling
from elsa_edge.progress import Tell

if TYPE_CHECKING:
    from elsa_edge.deploy import DeviceBook, Options, Outcome

__all__ = ["command"]


@click.command("deploy", epilog="Example: elsa-edge deploy bundle/ --to pi5")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option(
    "--to",
    "targets",
    metavar="DEVICE[,DEVICE...]|FILE",
    help="Devices that `elsa-edge device add` has added, or a file with a name in each line (# begins a comment).",
)
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
@click.option(
    "--waves",
    default="1,10%,50%,100%",
    show_default=True,
    help="Of several devices: how many have it after each wave.",
)
@click.option(
    "--stop-after",
    default=None,
    metavar="N|N%",
    help="Of several devices: begin no wave after more than so many failures. Default: 0; with --rollback, all.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="Of several devices: how many at a time.",
)
@click.option(
    "--export",
    "form",
    type=click.Choice(["tar", "oci", "rauc", "mender"]),
    help="Instead of contacting devices: write what a fleet tool takes, for the one device named by --to.",
)
@click.option(
    "-o", "--output", "destination", type=click.Path(path_type=Path), help="With --export: where to."
)
@json_option
def command(
    *,
    bundle: Path | None,
    targets: str | None,
    back: bool,
    dry_run: bool,
    packages: Literal["auto", "own", "bring"],
    wheels: Path | None,
    trial: float,
    measure: float,
    take_over: bool,
    waves: str,
    stop_after: str | None,
    at_once: int,
    form: Literal["tar", "oci", "rauc", "mender"] | None,
    destination: Path | None,
    as_json: bool,
) -> None:
    """Put BUNDLE into service on devices.

    Whether it can run there is found out before a byte is copied; only content that is not there yet travels; it is
    verified on the device at every level, switched in by one rename, and after failing first runs the device returns to
    what it served before by itself. Several devices are served in waves, each only after the one before did well.
    """
    from elsa_edge.deploy import DeviceBook, Options
    from elsa_edge.deploy.waves import parse_limit, parse_waves
    from elsa_edge.errors import UsageError
    from elsa_edge.loading import default_cache

    whole = (bundle is None) == back and (form is None) == (destination is None) and not (back and form)
    if targets is None or not whole:
        raise UsageError(
            "Say what goes where",
            expected="BUNDLE --to DEVICE, --rollback --to DEVICE, or BUNDLE --to DEVICE --export FORM -o PATH",
        )
    book = DeviceBook.default()
    names = _names(targets, book)
    options = Options(
        packages=packages,
        wheels=wheels,
        trial_s=trial,
        measure_s=measure,
        take_over=take_over,
        dry_run=dry_run,
        devices=book.folder,
        **({"cache": found} if (found := default_cache()) is not None else {}),
    )
    if form is not None and destination is not None and bundle is not None:
        if len(names) != 1:
            raise UsageError(
                "An export is for one kind of device", expected="one name after --to", found=targets
            )
        _export(bundle, book, names[0], form=form, destination=destination, as_json=as_json)
    elif len(names) > 1:
        most = parse_limit(stop_after or ("100%" if back else "0"))
        limits = {"waves": parse_waves(waves, len(names)), "most_failures": most, "at_once": at_once}
        _fleet(bundle, book, names, options, limits=limits, as_json=as_json)
    else:
        with telling("deploying") as tell:
            outcome = _one(bundle, book, names[0], options, tell)
        if outcome is not None and outcome.profile is not None:
            _show_measured(outcome, book)
        emit(
            {"device": names[0], "state": "rolled back"} if outcome is None else outcome.as_json(),
            as_json=as_json,
        )


def _names(targets: str, book: DeviceBook) -> list[str]:
    """Return the devices that are meant: a name before a file that happens to be called like it."""
    from elsa_edge.deploy.fleet import read_names
    from elsa_edge.errors import UsageError

    known, path = book.names(), Path(targets)
    if targets in known:
        return [targets]
    try:
        names = read_names(path.read_text(encoding="utf-8") if path.is_file() else targets)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "The list of devices cannot be read",
            expected="text with a name in each line",
            found=f"{targets} ({error})",
        ) from error
    if not names:
        raise UsageError(
            "No device is named", expected="names, or a file with a name in each line", found=targets
        )
    unknown = [name for name in names if name not in known]
    if unknown and path.is_file() and known:
        raise UsageError(
            f"{targets} names devices that were not added",
            found=", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""),
            fix="elsa-edge device list says which there are",
        )
    for name in unknown:
        book.get(name)
    return names


def _one(bundle: Path | None, book: DeviceBook, name: str, options: Options, tell: Tell) -> Outcome | None:
    """Deploy to one device, or roll it back (None); a profile that was measured there comes home."""
    from elsa_edge.deploy import deploy, rollback

    if bundle is None:
        rollback(book.get(name), options, tell=tell)
        return None
    outcome = deploy(bundle, book.get(name), book.profile(name), options, tell=tell)
    if outcome.profile is not None:
        book.save_profile(name, outcome.profile)
    return outcome


def _fleet(
    bundle: Path | None, book: DeviceBook, names: list[str], options: Options, *, limits: Any, as_json: bool
) -> None:
    from elsa_edge.deploy.fleet import State, roll_out

    with telling("deploying") as tell:

        def one(name: str) -> tuple[State, int]:
            # Several devices at once: how far one of them is says nothing of the whole.
            outcome = _one(bundle, book, name, options, lambda line: tell(str(line)))
            return ("deployed", 0) if outcome is None else (outcome.state, outcome.moved_bytes)

        report = roll_out(names, one, tell=tell, **limits)
    print_table(
        "Devices",
        ("device", "wave", "state", "MB sent", "reason"),
        [(r.device, r.wave, r.state, r.moved_bytes / 1e6, r.reason or "") for r in report.results],
    )
    emit(report.as_json(), as_json=as_json)
    if not report.ok:
        raise SystemExit(1)


def _export(
    bundle: Path,
    book: DeviceBook,
    name: str,
    *,
    form: Literal["tar", "oci", "rauc", "mender"],
    destination: Path,
    as_json: bool,
) -> None:
    from elsa_edge.deploy.export import export_release
    from elsa_edge.deploy.prepare import payload

    profile = book.profile(name)
    release = payload(bundle, profile)
    export_release(release, form, destination, arch=profile.hardware.arch, device=name)
    say(f"{destination}: release {release.hash[:12]} of {release.name}, {release.size_bytes / 1e6:.2f} MB")
    emit(
        {
            "export": form,
            "output": str(destination),
            "release": release.hash,
            "size_bytes": release.size_bytes,
        },
        as_json=as_json,
    )


def _show_measured(outcome: Outcome, book: DeviceBook) -> None:
    assert outcome.profile is not None
    assert outcome.profile.measured is not None
    say(f"Measured there; the table is in {book.profile_path(outcome.device)}")
    print_table(
        f"{outcome.device}, {outcome.profile.measured.variant}",
        ("level", "p50 ms", "p95 ms", "memory MB"),
        [
            (row.name, row.p50_ms, row.p95_ms, None if row.memory_bytes is None else row.memory_bytes / 1e6)
            for row in outcome.profile.measured.levels
        ],
    )
