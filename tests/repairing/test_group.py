"""Several processes repair together: the same levels as one process, up to the order of sums."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support import learned
from torch import nn

import elsa_edge
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import UsageError
from elsa_edge.repairing.answers import remembered_answers
from elsa_edge.repairing.augment import Augmentation
from elsa_edge.repairing.samples import Samples
from elsa_edge.repairing.sources import source_of
from elsa_edge.sparsify import sparsify

TESTS = Path(__file__).parents[1]


def test_two_processes_end_like_one(tmp_path):
    """A network without BatchNorm, in an environment as torchrun makes it: one file, one table, the same weights."""
    torch.manual_seed(0)
    model = learned.without_norm()
    np.savez(tmp_path / "inputs.npz", input=np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32))
    cut = sparsify(model, [0.5, 0.0])
    cut.save(tmp_path / "cut.safetensors")
    out = tmp_path / "two.safetensors"
    options = ["--mode", "weights", "--loss", "mse", "--steps", "8", "--batch-size", "16"]
    options += [
        "--data",
        str(tmp_path / "inputs.npz"),
        "--model",
        "support.learned:without_norm",
        "-o",
        str(out),
    ]
    program = [sys.executable, "-c", "from elsa_edge.cli import main; main()", "repair"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [*program, str(tmp_path / "cut.safetensors"), *options],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert "s50: step 8 of 8" in told[0][1]
    assert "step" not in told[1][1]
    assert told[1][0] == ""
    two = NestedCheckpoint.load(out)
    with np.load(tmp_path / "inputs.npz") as arrays:
        settings = elsa_edge.RepairSettings(mode="weights", loss="mse", steps=8, batch_size=16)
        one = elsa_edge.repair(cut, learned.without_norm(), dict(arrays), settings)

    assert two.provenance["repair"]["processes"] == 2
    for name, weight in one.weights.items():
        assert not np.array_equal(weight, cut.weights[name])
        np.testing.assert_allclose(two.weights[name], weight, atol=1e-5)


def test_shares_make_up_the_batch():
    """Whatever the number of processes, together they take the places of the whole batch, each once."""
    samples = Samples(
        source_of(nn.Linear(3, 2), torch.randn(40, 3)), held_out=0.1, augmentation=Augmentation(), seed=0
    )
    whole = samples.places(0, 3, 12).tolist()
    for shares in (1, 2, 3, 4):
        parts = [samples.places(0, 3, 12, share=share, shares=shares).tolist() for share in range(shares)]
        assert sorted(place for part in parts for place in part) == sorted(whole)
        assert len({len(part) for part in parts}) == 1


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    """Before anything is computed."""
    from elsa_edge.repairing import run
    from elsa_edge.repairing.group import Alone

    team = Alone(torch.device("cpu"))
    monkeypatch.setattr(team, "count", 3, raising=False)
    monkeypatch.setattr(run, "group", lambda: team)
    model = learned.without_norm()
    with pytest.raises(UsageError, match="multiple of 3 processes"):
        elsa_edge.repair(
            sparsify(model, [0.5, 0.0]), model, torch.randn(64, 8), elsa_edge.RepairSettings(batch_size=16)
        )


def test_answers_are_remembered_where_that_pays():
    """Row i is the answer to input i; varied inputs, few steps and no time for it are asked about each time."""
    network, inputs = nn.Linear(3, 2), torch.randn(40, 3)

    def remembered(augmentation=Augmentation(), draws=200, in_time=True):  # noqa: B008 - it is frozen
        samples = Samples(source_of(network, inputs), held_out=0.1, augmentation=augmentation, seed=0)
        with torch.no_grad():
            table = remembered_answers(
                samples, lambda a: network(*a[0]), draws=draws, batch_size=7, in_time=lambda: in_time
            )
        return samples.train_places, table

    places, table = remembered()
    torch.testing.assert_close(table[places], network(inputs[places]).detach())
    assert remembered(augmentation=Augmentation(flip=True))[1] is None
    assert remembered(draws=50)[1] is None
    assert remembered(in_time=False)[1] is None
