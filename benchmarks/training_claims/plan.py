"""Which trainings, in the order of their worth: settings of HALO first, on images that no figure is read from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.repair.kept import Row, kept
from benchmarks.training_claims.runs import one_training

__all__ = ["CHOICES", "SPARSITIES", "chosen_strength", "every_run", "run"]

_FOLDER: Final = Path(__file__).parents[2] / ".cache" / "benchmarks" / "training_claims"
# network and epochs to multiples of the published xi, at the published sum of learning rates
CHOICES: Final = {
    ("resnet14", 3): (0.1, 0.3, 1.0, 3.0, 10.0),
    ("mlp", 1): (0.1, 0.3, 1.0),
    ("mlp", 3): (0.03, 0.1, 0.3, 1.0),
    ("mlp", 6): (0.1, 0.3, 1.0),
    ("resnet14", 1): (1.0, 3.0),
    ("tiny", 3): (10.0, 30.0, 100.0),
}
SPARSITIES: Final = [0.9462, 0.8662]
# network, epochs of each level, seed
_ORDER: Final = (
    *(("mlp", epochs, 0) for epochs in (1, 3, 6)),
    ("resnet14", 3, 0),
    ("tiny", 3, 0),
    ("resnet14", 1, 0),
    *(("mlp", epochs, 1) for epochs in (1, 3, 6)),
    ("resnet14", 6, 0),
    *(("mlp", epochs, 2) for epochs in (1, 3, 6)),
    *(("resnet14", epochs, 1) for epochs in (1, 3)),
)
# magnitude: dense until the end, so that its accuracy before the cut is that of the dense network
_AT_95: Final = ("halo", "gradual", "magnitude")
_MORE: Final = {
    "mlp": ("gradual, to the last step", "halo, mask fixed for the last quarter"),
    "tiny": ("halo, cut just before the end",),
    "resnet14": (),
}


def run(*, finished: bool = False, **arguments: Any) -> list[Row]:
    """Return the rows of a training, from the file of finished ones where it is there; see `kept`."""
    return kept(one_training, finished=finished, folder=_FOLDER, **arguments)


def _choosing(network: str, epochs: int, strength: float) -> dict[str, Any]:
    return {
        "network": network,
        "method": "halo",
        "sparsities": [0.95],
        "epochs": epochs,
        "seed": 0,
        "choosing": True,
        "xi": strength,
    }


def chosen_strength(network: str, epochs: int, *, finished: bool = False) -> float | None:
    """Return the strength that is best on the validation images; for lengths without a choice that of three epochs."""
    length = epochs if (network, epochs) in CHOICES else 3
    strengths = CHOICES[network, length]
    found = {s: run(finished=finished, **_choosing(network, length, s)) for s in strengths}
    if not all(found.values()):
        return None
    return max(strengths, key=lambda strength: float(found[strength][0]["accuracy"]))


def _of_seed(network: str, epochs: int, seed: int, *, finished: bool) -> Iterator[dict[str, Any]]:
    common = {"network": network, "epochs": epochs, "seed": seed}
    thorough = epochs == 3 and seed == 0
    for method in (*_AT_95, *(_MORE[network] if thorough else ())):
        run = common | {"method": method, "sparsities": [0.95]}
        if method.startswith("halo"):
            strength = chosen_strength(network, epochs, finished=finished)
            if strength is None:
                continue
            run |= {"xi": strength}
        yield run
    yield common | {"method": "freeze", "sparsities": SPARSITIES}
    # the same level, trained alone: what its sparsity costs without any freezing
    yield common | {"method": "gradual", "sparsities": SPARSITIES[1:]}
    if thorough and network == "mlp":
        yield common | {"method": "joint", "sparsities": SPARSITIES}


def every_run(*, finished: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the arguments of every training; `finished` leaves out what depends on a setting not yet chosen."""
    for (network, epochs), strengths in CHOICES.items():
        yield from (_choosing(network, epochs, strength) for strength in strengths)
    for network, epochs, seed in _ORDER:
        yield from _of_seed(network, epochs, seed, finished=finished)
