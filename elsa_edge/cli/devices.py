"""`elsa-edge devices`: list, show, create and check device profiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from elsa_edge.cli._common import emit, json_option, new_file, print_table, say
from elsa_edge.files.claims import NOTHING

if TYPE_CHECKING:
    from elsa_edge.profiles import DeviceProfile

__all__ = ["command"]

# Profiles of boards of which owners may contribute figures.
_MAKERS = ("raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-32bit", "raspberry-pi-zero-2w")
_NO_FIGURES = (
    "Nobody has measured such a board yet; have you one? elsa-edge benchmark --suite board -o my-board.json"
)


@click.group(
    "devices", epilog="Example: elsa-edge devices new my-board --from raspberry-pi-5 -o my-board.yaml"
)
def command() -> None:
    """List, show, create and check device profiles."""


@command.command("list", epilog="Example: elsa-edge devices list")
@json_option
def list_devices(*, as_json: bool) -> None:
    """List the profiles that come with elsa-edge."""
    from elsa_edge.profiles import load_profile, profile_names

    profiles = [load_profile(name) for name in profile_names()]
    print_table(
        "Device profiles",
        ["name", "arch", "cores", "memory MB", "variants", "budget ms"],
        [
            (
                p.name,
                p.hardware.arch,
                p.hardware.cores,
                p.hardware.memory_mb,
                " ".join(p.variants),
                p.qos.latency_budget_ms,
            )
            for p in profiles
        ],
    )
    emit({"devices": [p.model_dump(mode="json") for p in profiles]}, as_json=as_json)


@command.command("show", epilog="Example: elsa-edge devices show raspberry-pi-5")
@click.argument("name", metavar="NAME_OR_YAML")
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Print a profile as YAML, every key with its meaning; with --json as JSON."""
    from elsa_edge.profiles import contributed, load_profile, render_profile

    profile = load_profile(name)
    if not as_json:
        click.echo(render_profile(profile), nl=False)
    if name in _MAKERS:
        files = ", ".join(str(path) for path in contributed(name))
        say(f"Figures of such boards: {files}" if files else _NO_FIGURES)
    emit(profile.model_dump(mode="json"), as_json=as_json)


@command.command(
    "new", epilog="Example: elsa-edge devices new my-board --from raspberry-pi-5 -o my-board.yaml"
)
@click.argument("name")
@click.option(
    "--from",
    "base",
    metavar="NAME_OR_YAML",
    default="generic-x86-64",
    show_default=True,
    help="The profile to start from.",
)
@new_file(help="The YAML file to write.", kinds=(NOTHING,))
@json_option
def new(*, name: str, base: str, destination: Path, as_json: bool) -> None:
    """Write a profile called NAME to edit; every key has a comment that says what it means."""
    import re

    from elsa_edge.errors import UsageError
    from elsa_edge.profiles import load_profile, save_profile
    from elsa_edge.profiles.schema import NAME_PATTERN
    from elsa_edge.profiles.writer import SCHEMA_FILE

    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(
            "This is no name for a device",
            expected="lower-case letters, digits, dots, dashes, underscores",
            found=name,
        )
    # What was measured on the base says nothing about the new device.
    profile = load_profile(base).model_copy(update={"name": name, "measured": None})
    save_profile(profile, destination)
    say(
        f"Wrote {destination}, a copy of {base} ({profile.hardware.arch}). Edit hardware, runtime and qos, then: "
        f"elsa-edge devices check {destination}"
    )
    say(f"Editors complete its keys with the JSON Schema {SCHEMA_FILE}")
    emit({"file": str(destination), "profile": profile.model_dump(mode="json")}, as_json=as_json)


@command.command("check", epilog="Example: elsa-edge devices check my-board.yaml")
@click.argument("file", metavar="NAME_OR_YAML")
@json_option
@click.pass_context
def check(context: click.Context, *, file: str, as_json: bool) -> None:
    """Check a profile and list every mistake with its line; warn about names that are not installed here."""
    from elsa_edge.profiles import find_problems, load_profile

    problems = find_problems(file)
    warnings: list[str] = []
    if not problems:
        profile = load_profile(file)
        warnings = [*_not_installed(profile), *_too_many_threads(profile)]
    for problem in problems:
        say(f"Error: {problem}")
    for warning in warnings:
        say(f"Warning: {warning}")
    if not problems:
        say(f"{file} is a correct device profile{', apart from the warnings' if warnings else ''}.")
    emit(
        {"file": file, "ok": not problems, "errors": [str(p) for p in problems], "warnings": warnings},
        as_json=as_json,
    )
    context.exit(1 if problems else 0)


def _not_installed(profile: DeviceProfile) -> list[str]:
    """Return warnings about variants and runtimes that no installed package offers: right elsewhere, perhaps."""
    from elsa_edge.errors import closest
    from elsa_edge.plugins.registry import ADAPTERS, EXPORTERS, names

    warnings = []
    wanted = [("variant", name, names(EXPORTERS)) for name in profile.variants]
    wanted.append(("runtime", profile.runtime.name, names(ADAPTERS)))
    for kind, name, known in wanted:
        if name not in known:
            near = closest(name, known)
            warnings.append(
                f"No installed package offers the {kind} {name!r}"
                + (f"; nearest: {near!r}." if near else ".")
            )
    return warnings


def _too_many_threads(profile: DeviceProfile) -> list[str]:
    threads, cores = profile.runtime.threads, profile.hardware.cores
    if threads <= cores:
        return []
    return [f"runtime.threads is {threads}, hardware.cores is {cores}: threads would wait for each other."]
