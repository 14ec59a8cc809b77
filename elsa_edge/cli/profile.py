"""`elsa-edge profile`: tune to this machine, measure every level, and write a device profile that says so."""

from __future__ import annotations

from pathlib import Path

import click

from elsa_edge.cli._common import SECONDS, cache_option, emit, json_option, new_file, print_table, say
from elsa_edge.cli._progress import telling
from elsa_edge.files.claims import PROFILE
from elsa_edge.progress import part, told

__all__ = ["command"]


@click.command(
    name="profile", epilog="Example: elsa-edge profile bundle/ --device raspberry-pi-5 -o my-pi.yaml"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--device", metavar="NAME_OR_YAML", help="Device profile; by default the one the bundle was built for."
)
@new_file(help="The device profile to write, with the measured table in it.", kinds=(PROFILE,))
@click.option(
    "--variant",
    metavar="NAME",
    help="Variant to measure, as it was built, and to name first; by default the fastest of the profile's here.",
)
@click.option(
    "--seconds",
    type=SECONDS,
    default=10.0,
    show_default=True,
    help="Time for warm inferences.",
)
@click.option(
    "--layers", is_flag=True, help="Also time each layer, by the runtime's own profiling; reports show it."
)
@cache_option
@json_option
def command(
    *,
    bundle: Path,
    device: str | None,
    destination: Path,
    variant: str | None,
    seconds: float,
    layers: bool,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Find the fastest way to run BUNDLE on this machine, and measure latency and memory of every level.

    Run it on the device. The profile that it writes names the fastest variant first, with its fastest choice of
    kernels; the controller starts from its figures.
    """
    from elsa_edge.control import level_facts
    from elsa_edge.control.adaptable import nothing_to_adapt, restless
    from elsa_edge.layer_times import with_layer_times
    from elsa_edge.loading import open_for
    from elsa_edge.measure import measure_bundle
    from elsa_edge.profiles import update_profile
    from elsa_edge.tuning import Candidate, preferring, tune

    opened, tuned = open_for(bundle, device)
    if variant is not None:
        tuned = preferring(tuned, variant)
    timed: list[Candidate] = []
    with telling("measuring") as tell:
        if variant is None:
            tuned, timed = tune(opened, tuned, cache=cache, seconds=seconds / 2, tell=part(tell, 0.0, 0.3))
        profile = measure_bundle(
            opened, tuned, variant=variant, cache=cache, seconds=seconds, progress=part(tell, 0.3, 0.9)
        )
        if layers:
            tell(told("time of each layer", 0.9))
            profile = with_layer_times(opened, profile, cache)
    if layers and profile.measured is not None and not profile.measured.layers:
        say(f"{profile.runtime.name} does not tell how long layers take")
    update_profile(profile, destination)
    measured = profile.measured
    assert measured is not None  # measure_bundle has just filled it
    levels = [
        {
            "level": k,
            "name": row.name,
            "sparsity": entry.sparsity,
            "density": entry.density,
            "flops_fraction": entry.flops_fraction,
            "accuracy": entry.accuracy,
            "p50_ms": row.p50_ms,
            "p90_ms": row.p90_ms,
            "p95_ms": row.p95_ms,
            "p99_ms": row.p99_ms,
            "first_ms": row.first_ms,
            "cold_ms": row.cold_ms,
            "switch_ms": row.switch_ms,
            "memory_bytes": row.memory_bytes,
        }
        for k, (row, entry) in enumerate(zip(measured.levels, opened.manifest.ladder, strict=True))
    ]
    print_table(
        f"{opened.manifest.name} ({measured.variant}) on {profile.name}",
        ("level", "density", "p50 ms", "p95 ms", "p99 ms", "first ms", "cold ms", "switch ms", "memory MB"),
        [
            (
                f"{k['level']} {k['name']}",
                k["density"],
                k["p50_ms"],
                k["p95_ms"],
                k["p99_ms"],
                k["first_ms"],
                k["cold_ms"],
                k["switch_ms"],
                None if k["memory_bytes"] is None else float(str(k["memory_bytes"])) / 1e6,
            )
            for k in levels
        ],
    )
    ways = [
        {
            "variant": c.variant,
            "choice": c.choice,
            "level_ms": [round(ms, 4) for ms in c.level_ms],
            "score_ms": round(c.score_ms, 4),
        }
        for c in timed
    ]
    if ways:
        print_table(
            f"ways to run it here; taken: {measured.variant} ({profile.runtime.choice})",
            ("variant", "choice", "mean ms over levels"),
            [(way["variant"], way["choice"], way["score_ms"]) for way in ways],
        )
    facts = level_facts(opened.manifest.ladder, measured)
    sentence, noise = nothing_to_adapt(facts, measured.variant or ""), restless(facts)
    for note in filter(None, (sentence, noise)):
        say(note)
    say(f"Written to {destination}")
    emit(
        {
            "bundle": str(bundle),
            "device": profile.name,
            "variant": measured.variant,
            "choice": profile.runtime.choice,
            "timed": ways,
            "nothing_to_adapt": sentence,
            "restless": noise,
            "profile": str(destination),
            "levels": levels,
            "context": measured.context,
        },
        as_json=as_json,
    )
