"""Reading dense checkpoints: wrappers and prefixes come off, code is refused, misfits are listed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import nets

from elsa_edge.errors import CheckpointError
from elsa_edge.sparsify import sparsify
from elsa_edge.trained import load_dense


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {f"module.{n}": t for n, t in s.items()}},
        lambda s: {"state_dict": {f"model._orig_mod.{n}": t for n, t in s.items()}},
        lambda s: {n: t.half() if t.is_floating_point() else t for n, t in s.items()},
        lambda s: {n: t for n, t in s.items() if not n.endswith("num_batches_tracked")},
    ],
)
def test_wrapped_checkpoints_load(wrap, tmp_path):
    """Frameworks' wrappers, prefixes, half precision and missing counters do not hinder."""
    source, target = nets.Conv(), nets.Conv()
    torch.save(wrap(source.state_dict()), tmp_path / "c.pt")
    load_dense(target, tmp_path / "c.pt")
    assert torch.allclose(target.conv2.weight, source.conv2.weight, atol=1e-3)
    assert target.conv2.weight.dtype == torch.float32


def test_safetensors_load(tmp_path):
    """The safe format gives the same bits."""
    source, target = nets.Conv(), nets.Conv()
    save_file(source.state_dict(), tmp_path / "c.safetensors")
    load_dense(target, tmp_path / "c.safetensors")
    assert torch.equal(target.head.weight, source.head.weight)


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path(self.path),))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    """Both of torch's containers: the error says so and the code has not run."""
    victim = tmp_path / "victim"
    torch.save({"a": Bomb(victim)}, tmp_path / "zip.pt")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps({"a": Bomb(victim)}))
    for name in ("zip.pt", "raw.pth"):
        with pytest.raises(CheckpointError, match="refused, nothing was run"):
            load_dense(nets.Conv(), tmp_path / name)
    assert not victim.exists()


def test_misfits_are_listed(tmp_path):
    """Missing, unknown and reshaped tensors are all in one message."""
    state = nets.Conv(12).state_dict()
    state["extra"] = state.pop("head.bias")
    torch.save(state, tmp_path / "c.pt")
    with pytest.raises(CheckpointError) as caught:
        load_dense(nets.Conv(), tmp_path / "c.pt")
    message = str(caught.value)
    assert "missing: head.bias" in message
    assert "not in the model: extra" in message
    assert "conv1.weight is (12, 1, 3, 3), the model's is (8, 1, 3, 3)" in message


def test_broken_files_are_told_apart(tmp_path):
    """Missing, damaged, empty, of another kind, with NaN, nested already: one clear sentence each."""
    model = nets.Conv()
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_dense(model, tmp_path / "none.pt")
    for name in ("c.pt", "c.safetensors"):
        (tmp_path / name).write_bytes(b"not a checkpoint at all")
        with pytest.raises(CheckpointError, match=r"damaged|cannot be read"):
            load_dense(model, tmp_path / name)
    (tmp_path / "c.txt").write_text("x")
    with pytest.raises(CheckpointError, match="known kind"):
        load_dense(model, tmp_path / "c.txt")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_dense(model, tmp_path)
    torch.save({}, tmp_path / "empty.pt")
    with pytest.raises(CheckpointError, match="no tensors"):
        load_dense(model, tmp_path / "empty.pt")
    torch.save({"lr": 0.1}, tmp_path / "lr.pt")
    with pytest.raises(CheckpointError, match="not tensors: found lr"):
        load_dense(model, tmp_path / "lr.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="no state_dict"):
        load_dense(model, tmp_path / "list.pt")
    state = model.state_dict()
    state["head.bias"] = state["head.bias"] * torch.nan
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(CheckpointError, match=r"NaN or infinite: found head\.bias"):
        load_dense(nets.Conv(), tmp_path / "nan.pt")
    sparsify(nets.Conv(), [0.5]).save(tmp_path / "nested.safetensors")
    with pytest.raises(CheckpointError, match="nested already"):
        load_dense(nets.Conv(), tmp_path / "nested.safetensors")
