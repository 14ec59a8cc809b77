"""One-shot nested levels from trained dense weights: score once, cut at each level, sparsest first.

    M_0 ⊆ M_1 ⊆ ... : M_k = select(scores, d_k, frozen = M_(k-1))

No training happens here; BatchNorm statistics are re-estimated at each level when data is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.depthwise import without_depthwise
from elsa_edge.errors import UsageError
from elsa_edge.levels import NEVER, Ladder, index_from_masks, mask_at, measured_densities
from elsa_edge.progress import Tell, told
from elsa_edge.sparsify.allocation import allocation_named
from elsa_edge.sparsify.coverage import coverage
from elsa_edge.sparsify.data import Batches, batches_of, offered
from elsa_edge.sparsify.dead import require_alive
from elsa_edge.sparsify.fisher import fisher_scores
from elsa_edge.sparsify.likeness import Likeness, likeness_of
from elsa_edge.sparsify.norms import batch_norms, evaluating, followers
from elsa_edge.sparsify.patterns import Channel, NofM, Pattern, Unstructured, parse_pattern
from elsa_edge.sparsify.products import Products, trace_products
from elsa_edge.sparsify.prunable import Prunable, choose, find_prunable
from elsa_edge.sparsify.scores import FISHER, score_named
from elsa_edge.sparsify.selection import select
from elsa_edge.sparsify.statistics import DenseNorms, dense_norms, reestimate
from elsa_edge.sparsify.tracing import output_layers
from elsa_edge.trained import plain_network, tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn

# A weight that keeps less than this part of the level's density is spoken of.
_POOR: Final = 0.25

__all__ = ["arrays_of", "nested_weights", "sparsify", "with_aliases"]


def arrays_of(model: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    """Return the state_dict as arrays of their own memory, without extra state; floats become float32."""
    arrays = {}
    for name, tensor in tensors_of(model).items():
        plain = tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
        arrays[name] = plain.cpu().numpy().copy()
    return arrays


def with_aliases(weights: Sequence[Prunable], indices: Mapping[str, Any]) -> dict[str, Any]:
    """Give a tied weight its level index under each of its names: loading in any order gives the same."""
    return {name: indices[weight.name] for weight in weights for name in (weight.name, *weight.aliases)}


def nested_weights(
    model: nn.Module,
    pattern: Pattern,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    products: Products | None = None,
) -> tuple[list[Prunable], list[str]]:
    """Return the weights that become nested, and sentences on those that were asked for but stay dense.

    Depthwise convolutions stay dense unless a pattern names weights or whole channels are cut.

    Raises:
        UsageError: When a pattern matches nothing, or nothing is left.
    """
    every = find_prunable(model, products, include)
    wanted = choose(every, include, exclude)
    notes, chosen = [], []
    if not include and not isinstance(pattern, Channel):
        wanted, said = without_depthwise(wanted)
        notes += said
    outputs: set[str] = set()
    if isinstance(pattern, Channel) and not include:
        traced = output_layers(model, {weight.module for weight in every})
        outputs = {every[-1].module} if traced is None else traced
    for weight in wanted:
        reason = pattern.fits(weight)
        if weight.module in outputs:
            reason = "its channels are the network's outputs; name it in --include to cut it all the same"
        if reason is None:
            chosen.append(weight)
        else:
            notes.append(f"{weight.name} stays dense: {reason}.")
    if not chosen:
        raise UsageError(f"No weight can have granularity {pattern.name}", found=" ".join(notes))
    return chosen, notes


def _masks(
    weights: Sequence[Prunable],
    scores: Mapping[str, Tensor],
    ladder: Ladder,
    allocation: str,
    pattern: Pattern,
) -> list[dict[str, Tensor]]:
    masks: list[dict[str, Tensor]] = []
    for sparsity in ladder.sparsities:
        masks.append(
            select(
                weights,
                scores,
                1.0 - sparsity,
                allocation=allocation_named(allocation),
                pattern=pattern,
                frozen=masks[-1] if masks else None,
            )
        )
    return masks


def dead_channels(weight: Prunable, index: np.ndarray[Any, Any], level: int) -> np.ndarray[Any, Any]:
    """Return which output channels have no active weight at a level: bool `(out,)`."""
    import torch

    rows = weight.rows(torch.from_numpy(mask_at(index, level).copy()))
    return ~rows.flatten(1).any(1).numpy()


def _zero_dead_channels(
    *,
    weights: Sequence[Prunable],
    indices: Mapping[str, np.ndarray[Any, Any]],
    behind: Mapping[str, str],
    arrays: Mapping[str, np.ndarray[Any, Any]],
    tables: dict[str, np.ndarray[Any, Any]],
    level_count: int,
) -> None:
    """Zero, in the tables, what would make a dead channel put out anything but zero."""
    for weight in weights:
        names = [f"{weight.module}.bias" if weight.module else "bias"]
        if weight.name in behind:
            names += [f"{behind[weight.name]}.{part}" for part in ("weight", "bias", "running_mean")]
        present = [name for name in names if name in arrays]
        for level in range(level_count):
            dead = dead_channels(weight, indices[weight.name], level)
            if not dead.any():
                continue
            for name in present:
                if name not in tables:
                    tables[name] = np.repeat(arrays[name][None], level_count, 0).copy()
                tables[name][level, dead] = 0.0


def sparsify(
    model: nn.Module,
    ladder: Ladder | Sequence[float],
    *,
    method: str = "magnitude",
    allocation: str | None = None,
    granularity: str = "unstructured",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    data: Any = None,
    example: Any = None,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
    progress: Tell | None = None,
) -> NestedCheckpoint:
    """Make nested levels from the weights that `model` has now.

    Args:
        model: A trained network. Its numbers are as before afterwards; weights that were computed from others
            (weight_norm, masks of torch's pruning) are plain ones then.
        ladder: Levels, or their sparsities, sparsest first.
        method: `magnitude`, `random`, or `fisher`, which needs data: what the outputs lose without a weight.
        allocation: `global` (default), `uniform` or `erk`. With N:M every group has its own budget: leave it
            out.
        granularity: `unstructured`, `4x1`, `1x4` or `4x4` (consecutive output x input channels), `channel`, or N:M.
        include: Patterns on weight or module names; empty takes every weight that can be sparse.
        exclude: Patterns of weights that stay dense.
        data: Batches for re-estimating BatchNorm at each level that is not dense, see `batches_of`; None
            keeps the dense network's statistics.
        example: One batch, as `data`, for a run in which the network shows what it multiplies with; by default the
            first of `data`. With neither, only layers of known classes are found.
        seed: Of `random`.
        provenance: Further facts to store, JSON values.
        progress: Called with a line for each step.

    Returns:
        The nested checkpoint; `provenance["notes"]` says what stayed dense against expectation and why.

    Raises:
        UsageError: When a name, pattern or combination is wrong.
        LevelError: When the ladder cannot be reached.
        InputError: When the data does not fit the network.
        ContractError: When a level does not follow its inputs any more, where `data` or `example` shows it.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Linear(20, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10))
        >>> nested = sparsify(network, [0.9, 0.5, 0.0])
        >>> [round(level.density, 2) for level in nested.ladder]
        [0.1, 0.5, 1.0]
    """
    import torch

    tell: Tell = progress or (lambda _: None)
    model = plain_network(model)
    steps = ladder if isinstance(ladder, Ladder) else Ladder.from_sparsities(list(ladder))
    pattern = parse_pattern(granularity, steps.sparsities)
    if isinstance(pattern, NofM) and allocation not in (None, "uniform"):
        raise UsageError(
            f"N:M keeps the same share everywhere: allocation {allocation!r} cannot be combined with it"
        )
    score = None if method == FISHER else score_named(method)
    batches = None if data is None else batches_of(model, data)
    # One batch as it is: its inputs need not have a number of samples in common.
    one = [example] if isinstance(example, Mapping) else example
    tell(told("looking at what the network multiplies with", 0.05))
    products = _watched(model, batches if example is None else batches_of(model, one))
    weights, notes = nested_weights(model, pattern, include, exclude, products)
    state = model.state_dict(keep_vars=True)
    generator = torch.Generator().manual_seed(seed)
    tell(told(f"scoring {len(weights)} weights", 0.15))
    if score is not None:
        scores = {w.name: score(state[w.name].detach().cpu(), None, generator) for w in weights}
    elif batches is None:
        raise UsageError("The method fisher scores weights by what they do to inputs", fix="Give --data")
    else:
        scores = fisher_scores(model, weights, batches, generator)
    tell(told(f"choosing what {len(steps)} levels keep", 0.35))
    masks = _masks(weights, scores, steps, allocation or "global", pattern)
    notes += _starved(weights, masks[0], 1.0 - steps.sparsities[0], granularity)
    indices = {w.name: index_from_masks([level[w.name].numpy() for level in masks]) for w in weights}
    arrays = arrays_of(model)
    if isinstance(pattern, (NofM, Unstructured)):
        notes += _leave_out_zeros(indices, arrays, steps)
    tables: dict[str, np.ndarray[Any, Any]] = {}
    if batches is not None and batch_norms(model):
        tell(told("statistics of BatchNorm at every level", 0.5))
        dense = dense_norms(model, batches)
        notes += _unlike(likeness_of(dense))
        tables = _statistics(model, weights, masks, batches, dense)
    if isinstance(pattern, Channel):
        behind, note = followers(model, weights, batches)
        notes += [note] if note else []
        _zero_dead_channels(
            weights=weights,
            indices=indices,
            behind=behind,
            arrays=arrays,
            tables=tables,
            level_count=len(steps),
        )
    facts = {
        "command": "sparsify",
        "method": method,
        "allocation": allocation or "global",
        "granularity": granularity,
        "include": list(include),
        "exclude": list(exclude),
        "seed": seed,
        "batch_norm": "re-estimated" if tables else "kept",
        "coverage": _coverage(model, weights, products, include, exclude),
        "notes": notes,
        **(provenance or {}),
    }
    checkpoint = NestedCheckpoint(arrays, with_aliases(weights, indices), tables, steps, facts)
    tell(told("looking whether every level follows its inputs", 0.9))
    shown = batches if example is None else batches_of(model, one)
    if shown is not None:
        arguments, keywords = next(iter(shown))
        with evaluating(model):
            require_alive(model, checkpoint, arguments, keywords)
    measured = steps.measured(densities=checkpoint.densities)
    return NestedCheckpoint(arrays, checkpoint.indices, tables, measured, facts)


def _coverage(
    model: nn.Module,
    weights: Sequence[Prunable],
    products: Products | None,
    include: Sequence[str],
    exclude: Sequence[str],
) -> dict[str, Any]:
    """Return what the nested weights are of the network, and why others that could be nested stay dense."""
    every = find_prunable(model, products, include)
    nested = {weight.name for weight in weights}
    wanted = {weight.name for weight in choose(every, include, exclude)}
    reasons = {w.name: "--include or --exclude leaves it out" for w in every if w.name not in wanted}
    depthwise = [w for w in every if w.depthwise and w.name in wanted - nested]
    reasons |= {weight.name: "it is a depthwise convolution" for weight in depthwise}
    return coverage(model, weights, products, dense=reasons, depthwise=depthwise)


def _starved(
    weights: Sequence[Prunable], masks: Mapping[str, Tensor], density: float, granularity: str
) -> list[str]:
    """Return a sentence on the weights that keep far less than the others at the sparsest level."""
    kept = {w.name: float(masks[w.name].float().mean()) for w in weights}
    poor = sorted((name for name, share in kept.items() if share < _POOR * density), key=lambda n: kept[n])
    if not poor:
        return []
    rows = {w.name: w.rows(masks[w.name]).flatten(1).any(1) for w in weights}
    words = {
        name: f"{int(rows[name].sum())} of {len(rows[name])} channels"
        if granularity == "channel"
        else f"{share:.1%}"
        for name, share in kept.items()
    }
    shown = ", ".join(f"{name} {words[name]}" for name in poor[:4])
    more = f" and {len(poor) - 4} more" if len(poor) > 4 else ""
    advice = (
        "Leave them out (--exclude), or cut less."
        if granularity == "channel"
        else "Another allocation (uniform, erk) spreads the cut."
    )
    sentence = (
        f"At the sparsest level, {density:.1%} in all, some weights keep far less: {shown}{more}. {advice}"
    )
    return [sentence]


def _unlike(found: Likeness | None) -> list[str]:
    """Return a warning where inputs cannot be what the network was trained on."""
    if found is None or found.alike:
        return []
    sentence = (
        f"The data looks unlike what the network was trained on: {found.sentence}. Levels estimated on it may be worse "
        "than without data: check how it is scaled (0..1? mean and standard deviation?)."
    )
    return [sentence]


def _leave_out_zeros(
    indices: Mapping[str, np.ndarray[Any, Any]], arrays: Mapping[str, np.ndarray[Any, Any]], ladder: Ladder
) -> list[str]:
    """Make weights that are zero already active at no level, in place; say which levels are then one network."""
    zeros = 0
    for name, index in indices.items():
        dead = arrays[name] == 0
        zeros += int(dead.sum())
        index[dead] = NEVER
    densities = measured_densities(indices, len(ladder))
    share = zeros / max(1, sum(index.size for index in indices.values()))
    return [
        f"Levels {sparser.name} and {denser.name} are the same network: {share:.1%} of its weights are zero already."
        for sparser, denser, a, b in zip(ladder, list(ladder)[1:], densities, densities[1:], strict=False)
        if a == b
    ]


def _watched(model: nn.Module, batches: Batches | None) -> Products | None:
    """Return what the network multiplies with, from a run on the first batch."""
    if batches is None:
        return None
    arguments, keywords = next(iter(batches))
    with offered(arguments, keywords):
        return trace_products(model, arguments, keywords)


def _statistics(
    model: nn.Module,
    weights: Sequence[Prunable],
    masks: Sequence[Mapping[str, Tensor]],
    batches: Any,
    dense: DenseNorms,
) -> dict[str, np.ndarray[Any, Any]]:
    """Return tables of running statistics; a level with every weight active keeps the trained ones."""
    import torch

    state = model.state_dict(keep_vars=True)
    before = {name: tensor.detach().clone() for name, tensor in state.items()}
    rows: list[dict[str, np.ndarray[Any, Any]]] = []
    try:
        for level in masks:
            if all(bool(mask.all()) for mask in level.values()):
                rows.append({})
                continue
            with torch.no_grad():
                for weight in weights:
                    mask = level[weight.name].to(state[weight.name].device)
                    state[weight.name].copy_(before[weight.name] * mask)
            rows.append(reestimate(model, batches, dense))
    finally:
        with torch.no_grad():
            for name, tensor in state.items():
                tensor.copy_(before[name])
    names = sorted({name for row in rows for name in row})
    trained = {name: before[name].float().cpu().numpy() for name in names}
    return {name: np.stack([row.get(name, trained[name]) for row in rows]) for name in names}
