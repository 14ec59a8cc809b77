"""What `repair` and `sparsify --repair` share: reading the inputs, progress, and the table in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.cli._common import print_table, say
from elsa_edge.cli._progress import bar
from elsa_edge.errors import UsageError
from elsa_edge.progress import Tell

if TYPE_CHECKING:
    from torch import nn

    from elsa_edge.checkpoint import NestedCheckpoint
    from elsa_edge.profiles import DeviceProfile
    from elsa_edge.repairing import RepairEvent

__all__ = ["as_batches", "cut_as_asked", "inputs_of", "repair_rows", "show_repair", "watching"]


def inputs_of(data: str, network: nn.Module, input_shapes: Sequence[str], scaling: str) -> Any:
    """Return the inputs that `--data` names: an .npz, a folder of pictures, or what a factory makes."""
    from elsa_edge.errors import InputError
    from elsa_edge.sparsify.data import read_npz

    path = Path(data)
    if path.is_dir():
        return _pictures(path, network, input_shapes, scaling)
    if path.suffix == ".npz" or path.is_file():
        arrays = read_npz(path)
        _tell_ignored(network, arrays)
        return arrays
    if ":" in data:
        from elsa_edge.factory import call_factory

        return _first_part(call_factory(data))
    raise InputError(
        f"There are no inputs at {data}", expected="an .npz file, a folder of pictures, or PKG.MODULE:FACTORY"
    )


def _tell_ignored(network: nn.Module, arrays: Mapping[str, Any]) -> None:
    """Say which arrays go nowhere: labels may lie in the file, but a misspelt input should be noticed."""
    import inspect

    known = inspect.signature(network.forward).parameters
    ignored = [name for name in arrays if name not in known]
    if 0 < len(ignored) < len(arrays):
        say(f"note: {', '.join(ignored)} in --data: the network has no such input, so it is left out.")


def as_batches(network: nn.Module, inputs: Any) -> Any:
    """Return inputs as `sparsify` takes them: whole arrays as they are, pictures and datasets as batches."""
    if inputs is None or isinstance(inputs, Mapping) or hasattr(inputs, "shape"):
        return inputs
    import torch

    from elsa_edge.repairing.sources import source_of

    source = source_of(network, inputs)
    batches = []
    for places in torch.split(torch.arange(min(len(source), _MOST_INPUTS)), 128):
        positional, named = source.take(places)
        batches.append(named or (positional,))
    return batches


def cut_as_asked(
    network: nn.Module,
    levels: str,
    inputs: Any,
    *,
    example: Any,
    settings: dict[str, Any],
    device: DeviceProfile | None = None,
    tell: Tell,
) -> NestedCheckpoint:
    """Cut the network; `--levels auto` and `--method auto` are found on the inputs first, and told."""
    from elsa_edge.levels import Ladder
    from elsa_edge.repairing.costs import MeasuredTimes
    from elsa_edge.repairing.cuts import best_cut
    from elsa_edge.repairing.ladders import choose_levels
    from elsa_edge.sparsify.oneshot import sparsify

    if inputs is None and "auto" in (levels, settings["method"]):
        raise UsageError("auto looks for what serves these inputs", fix="Add --data")
    chosen = {
        key: settings[key] for key in ("method", "allocation", "granularity", "include", "exclude", "seed")
    }
    if levels == "auto":
        method = "magnitude" if chosen["method"] == "auto" else chosen["method"]
        times = None if device is None else MeasuredTimes.of(device)
        ladder, looked = choose_levels(network, inputs, times=times, **{**chosen, "method": method})
        print_table(
            "Levels that were looked at",
            ["sparsity", "multiply-adds", *([] if times is None else ["time"]), "agreement", ""],
            [
                (r.sparsity, r.multiply_adds, *([] if times is None else [r.time]), r.agreement, r.verdict)
                for r in looked
            ],
        )
    else:
        ladder = Ladder.parse(levels)
    if chosen.pop("method") != "auto":
        batches = as_batches(network, inputs)
        return sparsify(network, ladder, data=batches, example=example, progress=tell, **settings)
    if chosen.pop("allocation") is not None:
        raise UsageError("The method auto tries several allocations", fix="Leave --allocation out")
    best, tried = best_cut(network, ladder, inputs, provenance=settings["provenance"], **chosen)
    print_table(
        "Cuts that were tried: mean agreement of the sparse levels with the dense network",
        ["score", "allocation", "agreement", ""],
        [(t.method, t.allocation, t.mean if t.agreements else None, t.why_not or "") for t in tried],
    )
    return best


def _first_part(made: Any) -> Any:
    """Return the training set of what a data factory of `elsa-edge train` makes, anything else as it is."""
    if isinstance(made, Mapping) and "train" in made and hasattr(made["train"], "__getitem__"):
        return made["train"]
    pair = isinstance(made, tuple) and len(made) == 2
    return made[0] if pair and all(hasattr(part, "__getitem__") for part in made) else made


def _pictures(folder: Path, network: nn.Module, input_shapes: Sequence[str], scaling: str) -> Any:
    from elsa_edge.repairing.images import read_folder, scaled_like_training
    from elsa_edge.tensors import parse_inputs

    if len(input_shapes) != 1:
        raise UsageError(
            "Of a folder of pictures the size that the network takes must be known",
            fix="Add --input-shape 1x3x224x224, or whatever it is",
        )
    spec = parse_inputs(input_shapes)[0]
    pictures, note = scaled_like_training(network, read_folder(folder, spec), spec.name, scaling)
    if note:
        say(f"note: {note}")
    return pictures


# For BatchNorm's statistics; more change nothing.
_MOST_INPUTS: Final = 2048


def watching() -> AbstractContextManager[Callable[[RepairEvent], None]]:
    """Show how repair goes on: a line for each look at the held-out inputs where there is no terminal."""

    def describe(event: RepairEvent) -> str:
        return f"{event.level}  agreement {event.agreement:.3f}"

    return bar("repairing", describe=describe, line=_line)


def _line(event: RepairEvent) -> None:
    if event.looked:
        say(f"{event.level}: step {event.step} of {event.steps}, agreement {event.agreement:.4f}")


def repair_rows(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what was reached at each repaired level, as rows."""
    found = provenance["repair"]["levels"]
    return [{"level": name, **facts} for name, facts in found.items()]


def show_repair(destination: Path, provenance: Mapping[str, Any]) -> None:
    """Print the agreement of each level with the dense network, before and after."""
    rows = repair_rows(provenance)
    inputs, looked_at = (provenance["repair"][n] for n in ("held_out_inputs", "held_out_with_copies"))
    copies = f" and {looked_at - inputs} varied copies of them" if looked_at > inputs else ""
    columns = ["level", "cut", "started", "repaired", "steps", "why"]
    print_table(
        f"{destination}: agreement with the dense network on {inputs} held-out inputs{copies}",
        ["level", "as cut", "+ BatchNorm", "repaired", "steps", "ended by"],
        [[row[name] for name in columns] for row in rows],
    )
