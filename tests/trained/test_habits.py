"""The ways in which people save a network: each loads the right numbers, or is refused with the way out."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import nets
from torch import nn

from elsa_edge.errors import CheckpointError
from elsa_edge.trained import load_dense, plain_network


def state(seed=1):
    torch.manual_seed(seed)
    return nets.Conv().state_dict()


def prefixed(prefix, seed=1):
    return {prefix + name: tensor for name, tensor in state(seed).items()}


def narrow(dtype):
    return {n: t.to(dtype) if t.is_floating_point() else t for n, t in state().items()}


def quantised(tensor):
    return torch.quantize_per_tensor(tensor, 0.01, 0, torch.qint8)


LOAD = {
    "plain": state,
    "optimizer beside it": lambda: {"model": state(), "optimizer": {"state": {0: {"avg": torch.ones(3)}}}},
    "arguments beside it": lambda: {
        "model": state(),
        "args": argparse.Namespace(lr=0.1, at=PurePosixPath("a")),
    },
    "numpy numbers beside it": lambda: {"state_dict": state(), "best": np.float64(0.9), "step": np.int64(3)},
    "numpy arrays": lambda: {name: tensor.numpy() for name, tensor in state().items()},
    "module.": lambda: prefixed("module."),
    "_orig_mod.": lambda: prefixed("_orig_mod."),
    "module._orig_mod.": lambda: prefixed("module._orig_mod."),
    "compiled submodule": lambda: {
        name.replace("conv1.", "conv1._orig_mod."): t for name, t in state().items()
    },
    "Lightning": lambda: {"state_dict": prefixed("model."), "callbacks": {"path": PurePosixPath("x")}},
    "Lightning, compiled": lambda: {"state_dict": prefixed("model._orig_mod.")},
    "Lightning net.": lambda: {"state_dict": prefixed("net.")},
    "Lightning backbone.": lambda: {"state_dict": prefixed("backbone.")},
    "Lightning hyper_parameters": lambda: {
        "state_dict": prefixed("model."),
        "hyper_parameters": {"lr": np.float64(0.1), "depth": np.int32(3)},
        "when": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    },
    "two prefixes": lambda: {"state_dict": prefixed("task.backbone.")},
    "a criterion beside it": lambda: {
        "state_dict": {**prefixed("model."), "criterion.weight": torch.ones(10)}
    },
    "DeepSpeed": lambda: {"module": state()},
    "AveragedModel": lambda: {**prefixed("module."), "n_averaged": torch.tensor(3)},
    "counters of thop": lambda: {
        **state(),
        "total_ops": torch.zeros(1),
        "conv1.total_params": torch.zeros(1),
    },
    "no counters": lambda: {n: t for n, t in state().items() if not n.endswith("num_batches_tracked")},
    "parameters": lambda: {n: nn.Parameter(t) if t.is_floating_point() else t for n, t in state().items()},
    "float64": lambda: {n: t.double() if t.is_floating_point() else t for n, t in state().items()},
    "float16": lambda: narrow(torch.float16),
    "bfloat16": lambda: narrow(torch.bfloat16),
    "quantised": lambda: {**state(), "head.bias": quantised(state()["head.bias"])},
    "sparse": lambda: {n: t.to_sparse() if n == "head.weight" else t for n, t in state().items()},
    "csr": lambda: {n: t.to_sparse_csr() if n == "head.weight" else t for n, t in state().items()},
    "pruned": lambda: {
        **{n: t for n, t in state().items() if n != "head.weight"},
        "head.weight_orig": state()["head.weight"],
        "head.weight_mask": torch.ones_like(state()["head.weight"]),
    },
    "two equal copies": lambda: {"state_dict": state(), "model": state()},
}


ROUNDED = {"float16": 1e-3, "bfloat16": 1e-2, "quantised": 6e-3}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:.*quant")
@pytest.mark.parametrize("habit", LOAD)
def test_a_habit_loads_the_right_numbers(habit, tmp_path):
    """Whatever stands around or before the names."""
    torch.save(LOAD[habit](), tmp_path / "c.pt")
    model = nets.Conv()
    load_dense(model, tmp_path / "c.pt")
    near = ROUNDED.get(habit, 1e-6)
    for key, tensor in state().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(model.state_dict()[key], tensor, rtol=near, atol=near)


@pytest.mark.parametrize("name", ["c.bin", "c.pth", "c.ckpt", "model_best.pth.tar", "checkpoint-100"])
def test_a_name_does_not_matter(name, tmp_path):
    """What a file is, its content says."""
    torch.save(state(), tmp_path / name)
    model = nets.Conv()
    load_dense(model, tmp_path / name)
    assert torch.equal(model.head.weight, state()["head.weight"])


def test_safetensors_in_half_precision(tmp_path):
    """As language models are published."""
    save_file(narrow(torch.bfloat16), tmp_path / "c.safetensors")
    model = nets.Conv()
    load_dense(model, tmp_path / "c.safetensors")
    assert model.head.weight.dtype == torch.float32
    torch.testing.assert_close(model.head.weight, state()["head.weight"], rtol=1e-2, atol=1e-2)


AVERAGED = {
    "model and ema": lambda: {"model": state(1), "ema": state(2)},
    "timm": lambda: {"state_dict": state(1), "state_dict_ema": state(2)},
    "Lightning": lambda: {"state_dict": {**prefixed("model.", 1), **prefixed("model_ema.", 2)}},
    "ema-pytorch": lambda: {
        **prefixed("online_model.", 1),
        **prefixed("ema_model.", 2),
        "step": torch.tensor(3),
    },
}


@pytest.mark.parametrize("habit", AVERAGED)
def test_averaged_weights_are_said_and_taken_on_demand(habit, tmp_path):
    """The trained weights by default, with a note that others are there; `ema` takes the others."""
    torch.save(AVERAGED[habit](), tmp_path / "c.pt")
    model = nets.Conv()
    notes = load_dense(model, tmp_path / "c.pt")
    assert torch.equal(model.head.weight, state(1)["head.weight"])
    assert any("--weights ema" in note for note in notes)
    load_dense(model, tmp_path / "c.pt", weights="ema")
    assert torch.equal(model.head.weight, state(2)["head.weight"])


def test_two_different_candidates_are_refused_and_can_be_told_apart(tmp_path):
    """Nothing is guessed; the error names what to say."""
    torch.save({"student": state(1), "teacher": state(2)}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"'student', 'teacher'.*--weights 'student'"):
        load_dense(nets.Conv(), tmp_path / "c.pt")
    model = nets.Conv()
    load_dense(model, tmp_path / "c.pt", weights="teacher")
    assert torch.equal(model.head.weight, state(2)["head.weight"])
    with pytest.raises(CheckpointError, match=r"no weights 'tutor'.*student, teacher"):
        load_dense(model, tmp_path / "c.pt", weights="tutor")


def test_a_folder_of_shards_loads(tmp_path):
    """As large models are published; a shard outside the folder is refused."""
    names = list(state())
    for number, part in enumerate((names[:5], names[5:])):
        save_file({n: state()[n] for n in part}, tmp_path / f"model-{number}.safetensors")
    places = {n: f"model-{int(n not in names[:5])}.safetensors" for n in names}
    listing = tmp_path / "model.safetensors.index.json"
    listing.write_text(json.dumps({"weight_map": places}))
    model = nets.Conv()
    load_dense(model, tmp_path)
    assert torch.equal(model.head.weight, state()["head.weight"])
    listing.write_text(json.dumps({"weight_map": places | {names[0]: "../model-0.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside its folder"):
        load_dense(model, tmp_path)


REFUSED = {
    "whole module": (
        lambda p: torch.save(nets.Conv(), p),
        r"refused, nothing was run.*model\.state_dict\(\)",
    ),
    "module inside": (
        lambda p: torch.save({"model": nets.Conv(), "ema": None}, p),
        "refused, nothing was run",
    ),
    "TorchScript": (
        lambda p: torch.jit.save(
            torch.jit.trace(nets.Conv().eval(), torch.ones(1, 1, 8, 8), check_trace=False), p
        ),
        r"TorchScript program.*torch\.jit\.load",
    ),
    "Git LFS": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "git lfs pull",
    ),
    "another width": (lambda p: torch.save(nets.Conv(12).state_dict(), p), "of another shape"),
    "Keras": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "damaged"),
    "list": (lambda p: torch.save([torch.ones(3)], p), "holds no state_dict: expected names and tensors"),
    "empty": (lambda p: torch.save({}, p), "holds no tensors"),
    "NaN": (
        lambda p: torch.save({**state(), "head.bias": state()["head.bias"] * torch.nan}, p),
        r"NaN or infinite: found head\.bias",
    ),
    "complex": (
        lambda p: torch.save({n: t.to(torch.complex64) for n, t in state().items()}, p),
        "complex numbers",
    ),
    "codes": (
        lambda p: torch.save({**state(), "head.weight": torch.ones(10, 16, dtype=torch.int8)}, p),
        r"whole numbers \(int8\) for head\.weight.*save the float network",
    ),
    "meta": (
        lambda p: torch.save({**state(), "head.weight": torch.empty(10, 16, device="meta")}, p),
        "meta tensor",
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("habit", REFUSED)
def test_what_cannot_load_says_the_way_out(habit, tmp_path):
    """Code is never run; what is wrong and what to do stands in the sentence."""
    write, words = REFUSED[habit]
    write(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=words):
        load_dense(nets.Conv(), tmp_path / "c.pt")


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: m], ids=["DataParallel", "plain"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_of_the_factory_do_not_matter(wrap, prefix, tmp_path):
    """Neither side needs the other's prefix."""
    torch.save(prefixed(prefix), tmp_path / "c.pt")
    model = wrap(nets.Conv())
    load_dense(model, tmp_path / "c.pt")
    assert torch.equal(plain_network(model).head.weight, state()["head.weight"])


class Tied(nn.Module):
    """A head that is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 4)
        self.head = nn.Linear(4, 12, bias=False)
        self.head.weight = self.embed.weight


def test_a_tied_head_may_be_left_out_but_not_both(tmp_path):
    """One name of the tensor is enough; none is a misfit; two that differ are said."""
    weight = torch.arange(48.0).reshape(12, 4)
    save_file({"embed.weight": weight}, tmp_path / "c.safetensors")
    model = Tied()
    load_dense(model, tmp_path / "c.safetensors")
    assert torch.equal(model.head.weight, weight)
    torch.save({"embed.weight": weight + 3, "head.weight": weight + 3}, tmp_path / "both.pt")
    assert not any("differ" in note for note in load_dense(model, tmp_path / "both.pt"))
    assert torch.equal(model.embed.weight, weight + 3)
    torch.save({"embed.weight": weight, "head.weight": weight + 1}, tmp_path / "d.pt")
    assert any("differ in the file" in note for note in load_dense(model, tmp_path / "d.pt"))
    torch.save({"other.weight": weight}, tmp_path / "e.pt")
    with pytest.raises(CheckpointError, match=r"missing: embed\.weight, head\.weight"):
        load_dense(model, tmp_path / "e.pt")


def test_old_names_of_weight_norm_fit_its_parametrization(tmp_path):
    """`weight_g` and `weight_v` are original0 and original1 today."""
    source = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    with torch.no_grad():
        source[0].parametrizations.weight.original0 *= 2
    old = {
        "0.bias": source[0].bias,
        "0.weight_g": source[0].parametrizations.weight.original0,
        "0.weight_v": source[0].parametrizations.weight.original1,
    }
    torch.save({n: t.detach() for n, t in old.items()}, tmp_path / "c.pt")
    target = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    load_dense(target, tmp_path / "c.pt")
    torch.testing.assert_close(target[0].weight, source[0].weight)
