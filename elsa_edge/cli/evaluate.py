"""`elsa-edge evaluate`: how accurate each level is on labelled data, written into the ladder of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from elsa_edge.cli._common import cache_option, emit, json_option, print_table, say
from elsa_edge.cli._progress import telling
from elsa_edge.progress import part

if TYPE_CHECKING:
    from elsa_edge.bundle import Variant
    from elsa_edge.bundle.rerouted import SwitchPoint
    from elsa_edge.evaluate.answers import Answerer
    from elsa_edge.evaluate.metrics import Figure
    from elsa_edge.levels import Ladder

__all__ = ["command"]


@dataclass(frozen=True)
class _Subject:
    """What is measured.

    Attributes:
        answerers: What answers for it.
        ladder: Its levels.
        write: Writes a new ladder, and the figures of the switch points by variant.
        points: Variant -> the levels of each switch point, and what answers there; for rerouted variants.
    """

    answerers: Sequence[Callable[[], Answerer]]
    ladder: Ladder
    write: Callable[[Ladder, Path | None, Mapping[str, Sequence[Figure]]], None]
    points: Mapping[str, tuple[Sequence[Sequence[int]], Callable[[], Answerer]]] = field(default_factory=dict)


@click.command("evaluate", epilog="Example: elsa-edge evaluate model.onnx --data labelled.npz --metric top1")
@click.argument("what", metavar="CHECKPOINT|MODEL|BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="An .npz with an array for each input and one with the labels.",
)
@click.option(
    "--metric",
    default="top1",
    show_default=True,
    help="top1, miou, mse, or PKG:FUNCTION of yours: (outputs, labels) -> a number in [0, 1], or one per sample.",
)
@click.option(
    "--labels", metavar="NAME", help="The array with the truth; by default the one that is no input."
)
@click.option("--output-name", metavar="NAME", help="The output that is judged; by default the first.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Samples of one inference."
)
@click.option("--model", metavar="PKG.MODULE:FACTORY", help="For a checkpoint: makes the network.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME",
    help="For a bundle: this variant, repeatable; by default the profile's first that loads. "
    "The ladder gets the figures of the first.",
)
@click.option("--device", metavar="NAME_OR_YAML", help="For a bundle: by default the one it was built for.")
@click.option(
    "-o",
    "--output",
    "destination",
    type=click.Path(path_type=Path),
    help="Write a copy with the figures there, instead of into the ladder of what was measured.",
)
@click.option("--no-write", is_flag=True, help="Only print the figures.")
@cache_option
@json_option
def command(
    *,
    what: Path,
    data: Path,
    metric: str,
    labels: str | None,
    output_name: str | None,
    batch: int,
    model: str | None,
    variants: tuple[str, ...],
    device: str | None,
    destination: Path | None,
    no_write: bool,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Measure how accurate each level is, and write it into the ladder.

    The accuracy, its 95 % interval, the number of samples and the metric go into the ladder of the checkpoint, graph
    or bundle that was measured: that file is replaced whole, and its weights stay bit for bit; -o writes a copy
    instead. `qos.minimum_accuracy` of a device is compared with them.
    """
    from elsa_edge.errors import UsageError
    from elsa_edge.evaluate.data import read_labelled
    from elsa_edge.evaluate.measuring import Question, measure_accuracy
    from elsa_edge.evaluate.writing import with_figures

    if no_write and destination is not None:
        raise UsageError("--no-write and -o contradict each other")
    if what.is_dir():
        subject = _bundle(what, device, variants, cache)
    elif what.suffix == ".onnx":
        subject = _graph(what)
    else:
        subject = _checkpoint(what, model, data)
    question = Question(metric, output_name, batch)
    found: dict[str, list[Figure]] = {}
    count = len(subject.answerers)
    with telling("evaluating") as tell:
        for number, make in enumerate(subject.answerers):
            answerer = make()
            labelled = read_labelled(data, answerer.inputs, labels)
            own = part(tell, number / count, (number + 1) / count)
            found[answerer.name] = measure_accuracy(answerer, labelled, question, own)
    figures = next(iter(found.values()))
    ladder = with_figures(subject.ladder, figures, metric)
    for name, measured in found.items():
        print_table(
            f"{what} ({name}): {metric} on {measured[0].samples} samples",
            ["level", "accuracy", "95 % interval", *(["mse"] if metric == "mse" else [])],
            [
                (
                    f"{k} {level.name}",
                    figure.accuracy,
                    None if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}",
                    *([figure.value] if metric == "mse" else []),
                )
                for k, (level, figure) in enumerate(zip(subject.ladder, measured, strict=True))
            ],
        )
    switched: dict[str, list[Figure]] = {}
    for name, (points, make) in subject.points.items():
        answerer = make()
        labelled = read_labelled(data, answerer.inputs, labels)
        switched[name] = measure_accuracy(answerer, labelled, question)
        print_table(
            f"{what} ({name}), level changed inside the inference: {metric}",
            ["levels of the segments", "accuracy"],
            [
                (" ".join(map(str, levels)), figure.accuracy)
                for levels, figure in zip(points, switched[name], strict=True)
            ],
        )
    if not no_write:
        subject.write(ladder, destination, switched)
        say(f"Written into the ladder of {destination or what}")
    emit(
        {
            "what": str(what),
            "metric": metric,
            "written_to": None if no_write else str(destination or what),
            "measured": {
                name: [
                    {
                        "level": k,
                        "name": level.name,
                        "accuracy": figure.accuracy,
                        "low": figure.low,
                        "high": figure.high,
                        "samples": figure.samples,
                        "value": figure.value,
                    }
                    for k, (level, figure) in enumerate(zip(subject.ladder, measured, strict=True))
                ]
                for name, measured in found.items()
            },
            "switch_points": {
                name: [
                    {"levels": list(levels), "accuracy": figure.accuracy}
                    for levels, figure in zip(subject.points[name][0], measured, strict=True)
                ]
                for name, measured in switched.items()
            },
        },
        as_json=as_json,
    )


def _bundle(folder: Path, device: str | None, variants: Sequence[str], cache: Path | None) -> _Subject:
    from elsa_edge.bundle.rerouted import Rerouted
    from elsa_edge.evaluate.answers import of_adapter, of_switch_points
    from elsa_edge.evaluate.writing import write_bundle_ladder
    from elsa_edge.loading import choose_variant, open_adapter, open_for
    from elsa_edge.plugins.chain import Chain

    bundle, profile = open_for(folder, device)
    chosen = [choose_variant(bundle, profile, name) for name in (variants or (None,))]

    def opener(variant: Variant) -> Callable[[], Answerer]:
        return lambda: of_adapter(variant.name, open_adapter(bundle, variant, profile, cache))

    def switcher(variant: Variant, points: Sequence[SwitchPoint]) -> Callable[[], Answerer]:
        def make() -> Answerer:
            chain = open_adapter(bundle, variant, profile, cache)
            assert isinstance(chain, Chain)
            return of_switch_points(variant.name, chain, points)

        return make

    points = {
        variant.name: variant.instructions.switch_points
        for variant in chosen
        if isinstance(variant.instructions, Rerouted)
    }
    return _Subject(
        [opener(variant) for variant in chosen],
        bundle.ladder,
        partial(write_bundle_ladder, bundle),
        {
            variant.name: ([p.levels for p in points[variant.name]], switcher(variant, points[variant.name]))
            for variant in chosen
            if variant.name in points
        },
    )


def _graph(path: Path) -> _Subject:
    from elsa_edge.evaluate.answers import of_graph
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.graph.check import check_contract

    graph = check_contract(CanonicalGraph.load(path))
    return _Subject(
        [lambda: of_graph(graph)],
        graph.ladder,
        lambda ladder, destination, _: graph.with_ladder(ladder).save(destination or path),
    )


def _checkpoint(path: Path, model: str | None, data: Path) -> _Subject:
    from elsa_edge.checkpoint import NestedCheckpoint
    from elsa_edge.errors import UsageError
    from elsa_edge.evaluate.answers import inputs_from, of_checkpoint
    from elsa_edge.factory import build_model
    from elsa_edge.inputs import read_arrays

    checkpoint = NestedCheckpoint.load(path)
    if model is None:
        raise UsageError(
            "A checkpoint needs the network that it belongs to", fix="Add --model PKG.MODULE:FACTORY"
        )
    network = build_model(model)
    inputs = inputs_from(network, read_arrays(data))
    return _Subject(
        [lambda: of_checkpoint(checkpoint, network, inputs)],
        checkpoint.ladder,
        lambda ladder, destination, _: checkpoint.with_ladder(ladder).save(destination or path),
    )
