"""`elsa-edge train` without its command line: train every segment, measure every level, write the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import CheckpointError, RuntimeUnavailableError, UsageError
from elsa_edge.training.config import TrainConfig
from elsa_edge.training.joint import JointLevels
from elsa_edge.training.logs import Log, open_log
from elsa_edge.training.loop import train_segment
from elsa_edge.training.run import Event, Run
from elsa_edge.training.run_state import STATE_FILE, load_state, state_path
from elsa_edge.training.setup import make_optimizer
from elsa_edge.training.task import to_device

__all__ = ["Event", "finished", "folder_beside", "run_training"]


def _train(run: Run, log: Log) -> None:
    """Train every segment, from where the run is."""
    state = load_state(run)
    for segment, name in run.trainer.segments():
        if segment != run.place.segment:
            run.place.segment, run.place.epoch, run.place.batch = segment, 0, 0
        optimizer = make_optimizer(run.config.optimizer, run.trainer.parameters())
        run.trainer.attach(optimizer)
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
            state = None
        train_segment(run, name, optimizer, log)


def run_training(
    config: TrainConfig,
    output: Path,
    *,
    restart: bool = False,
    progress: Callable[[Event], None] = lambda _event: None,
) -> NestedCheckpoint:
    """Train nested levels and write the nested checkpoint.

    Args:
        config: What to train.
        output: The `.safetensors` to write; state and log are kept in the folder `OUTPUT.run` beside it.
        restart: Forget the state of a run that was killed, and replace a result of another configuration.
        progress: Called after each step.

    Returns:
        The checkpoint, with the accuracy and FLOPs fraction of every level in its ladder. One that this configuration
        has finished before is returned as it is.

    Raises:
        UsageError: When the configuration is wrong, or the output or the state beside it is of another one.
        NotFiniteError: When the loss is NaN; the last good state stays.
    """
    try:
        import accelerate  # noqa: F401 - imported before the work, for a clear sentence
    except ImportError as error:
        raise RuntimeUnavailableError(
            "Training needs the package accelerate", fix="pip install 'elsa-edge[train]'"
        ) from error
    import torch

    from elsa_edge.training.flops import flops_fractions

    if not restart and (ready := finished(config, output)) is not None:
        return ready
    folder = folder_beside(output)
    folder.mkdir(parents=True, exist_ok=True)
    if restart:
        (folder / STATE_FILE).unlink(missing_ok=True)
    run = Run(config, folder, progress)
    resumed = state_path(run).is_file()
    with open_log(config.log, folder, resumed=resumed, active=run.accelerator.is_main_process) as log:
        _train(run, log)
    accuracies = []
    for level in range(len(config.ladder)):
        with run.levels.at_level(level):
            accuracies.append(run.evaluate())
    facts = {
        "config": config.model_dump(mode="json"),
        "history": run.place.history,
        "processes": run.shares,
        "method": config.method.name,
        "torch": torch.__version__,
    }
    if config.switch_points and isinstance(run.levels, JointLevels):
        facts["switch_points"] = _switch_points(run)
    checkpoint = run.levels.checkpoint(accuracies=accuracies, provenance=facts)
    inputs, _ = to_device(next(run.task.test_batches(2)), run.device)
    if not isinstance(inputs, dict):
        arguments = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        fractions = flops_fractions(run.model, arguments, checkpoint.indices, len(config.ladder))
        checkpoint = run.levels.checkpoint(accuracies=accuracies, flops_fractions=fractions, provenance=facts)
    if run.accelerator.is_main_process:
        checkpoint.save(output)
        if config.save_compressed_start is not None:
            _compressed(checkpoint).save(config.save_compressed_start)
        state_path(run).unlink(missing_ok=True)
    run.accelerator.wait_for_everyone()
    return checkpoint


def folder_beside(output: Path) -> Path:
    """Return the folder of state and log of a training that writes `output`."""
    return output.with_name(output.name + ".run")


def finished(config: TrainConfig, output: Path) -> NestedCheckpoint | None:
    """Return what this configuration has trained already; None where there is something to do.

    Raises:
        UsageError: When the output exists and this configuration did not make it.
    """
    if not output.exists():
        return None
    try:
        ready = NestedCheckpoint.load(output)
    except CheckpointError:
        ready = None
    if ready is None or not config.made(ready.provenance):
        raise UsageError(
            f"{output} exists and was not made with this configuration",
            fix="Choose another output, or give --restart to replace it",
        )
    # A state beside it is of a training that was begun anew and stopped.
    return None if (folder_beside(output) / STATE_FILE).is_file() else ready


def _switch_points(run: Run) -> list[dict[str, Any]]:
    """Measure the network that begins at the densest level and goes on at the sparsest, for each place to switch."""
    from elsa_edge.training.rerouting import switch_vectors

    joint = run.levels
    assert isinstance(joint, JointLevels)
    measured = []
    for vector in switch_vectors(joint.depth, len(run.config.ladder) - 1, 0):
        with joint.rerouted(vector):
            measured.append({"levels": vector, "accuracy": run.evaluate()})
    return measured


def _compressed(checkpoint: NestedCheckpoint) -> Any:
    from elsa_edge.training.asni_init import CompressedInit

    sparsest = checkpoint.at_level(0)
    return CompressedInit.of({name: sparsest[name] for name in checkpoint.indices})
