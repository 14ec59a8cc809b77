"""The state of a training on the disk: network, optimiser, masks, random numbers, place in the data.

It is written whole or not at all, every epoch and every `save_every_s` seconds; a run that was killed at any moment
goes on from there and ends with the same bits as one that was not.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import CheckpointError, UsageError
from elsa_edge.files import atomic_file
from elsa_edge.training.run import Place, Run

if TYPE_CHECKING:
    import torch

__all__ = ["STATE_FILE", "load_state", "save_state", "state_path"]

STATE_FILE: Final = "state.pt"


def state_path(run: Run) -> Path:
    """Return where the state is kept."""
    return run.folder / STATE_FILE


def save_state(run: Run, optimizer: torch.optim.Optimizer) -> None:
    """Write the state, unless the weights are no numbers."""
    import torch

    run.saved_at = time.monotonic()
    if not run.accelerator.is_main_process:
        return
    if not all(bool(torch.isfinite(p).all()) for p in run.model.parameters()):
        return
    run.place.seconds += time.monotonic() - run.started
    run.started = time.monotonic()
    state = {
        "config": run.config.digest(),
        "place": asdict(run.place),
        "model": run.model.state_dict(),
        "levels": run.levels.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "accuracy": run.accuracy,
    }
    if run.scaler is not None:
        state["scaler"] = run.scaler.state_dict()
    with atomic_file(state_path(run)) as temporary:
        torch.save(state, temporary)


def load_state(run: Run) -> dict[str, Any] | None:
    """Read the state of a run that was killed; None where there is none.

    Raises:
        UsageError: When it is of another configuration.
        CheckpointError: When it is damaged.
    """
    import torch

    if not state_path(run).is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(state_path(run), map_location=run.device, weights_only=True)
        digest = state["config"]
    except Exception as error:
        raise CheckpointError(
            f"The saved training {state_path(run)} is damaged", fix="Remove it to start anew"
        ) from error
    if digest != run.config.digest():
        raise UsageError(
            f"The training in {run.folder} was begun with another configuration",
            fix="Go back to that one, choose another output, or give --restart",
        )
    run.model.load_state_dict(state["model"])
    run.levels.load_state_dict(state["levels"])
    run.place = Place(**state["place"])
    run.accuracy = state["accuracy"]
    torch.set_rng_state(state["rng"].cpu())
    if run.scaler is not None and "scaler" in state:
        run.scaler.load_state_dict(state["scaler"])
    return state
