"""The public names: each is documented, has an example that runs, and stands in the reference and in a tier."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from support.bundles import bundle, model

import elsa_edge

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs/reference/python.md").read_text()
STABILITY = (ROOT / "docs/reference/stability.md").read_text()
# The rooms that docs/reference/stability.md calls provisional, as it names them.
PROVISIONAL = sorted(
    re.findall(r"`(elsa_edge\.\w+)`", STABILITY.partition("| provisional |")[2].partition("\n")[0])
)
PUBLIC = [("elsa_edge", name) for name in elsa_edge.__all__] + [
    (room, name) for room in PROVISIONAL for name in importlib.import_module(room).__all__
]
# What a person calls first in each room shows how.
WITH_EXAMPLE = [
    *(name for name in elsa_edge.__all__ if not name.startswith("__")),
    "elsa_stages", "sparsify", "NestedCheckpoint", "build_bundle", "verify_bundle",
]  # fmt: skip


def thing(room, name):
    return getattr(importlib.import_module(room), name)


def functions(value):
    """Yield a public function, or a class's own public methods and properties."""
    if inspect.isfunction(value):
        yield value.__name__, value
    elif inspect.isclass(value):
        for name, member in vars(value).items():
            inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(inner):
                yield f"{value.__name__}.{name}", inner


def test_there_is_something_to_look_at():
    assert {"elsa_edge.plugins", "elsa_edge.training", "elsa_edge.build"} <= set(PROVISIONAL)
    assert len(PUBLIC) > 40


@pytest.mark.parametrize(("room", "name"), PUBLIC, ids=[f"{room}.{name}" for room, name in PUBLIC])
def test_a_public_name_is_documented(room, name):
    """It, its methods and its properties say what they are; a function that takes more than two things names each."""
    value = thing(room, name)
    if not callable(value):
        return
    assert inspect.getdoc(value), name
    for called, function in functions(value):
        text = inspect.getdoc(function) or inspect.getdoc(getattr(value, function.__name__, None))
        assert text, called
        parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
        if inspect.isfunction(value) and len(parameters) > 2:
            absent = [p for p in parameters if not re.search(rf"\b{p}\b", text)]
            assert not absent, (called, absent)


@pytest.mark.parametrize(("room", "name"), PUBLIC, ids=[f"{room}.{name}" for room, name in PUBLIC])
def test_a_public_name_is_in_the_reference(room, name):
    """By itself, by its module, or as the package's version."""
    value = thing(room, name)
    home = getattr(value, "__module__", room)
    shown = set(re.findall(r"^::: (\S+)", REFERENCE, re.MULTILINE))
    assert shown & {f"{home}.{name}", home, room} or name in REFERENCE


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_a_public_name_has_an_example_that_runs(name, tmp_path):
    import torch

    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - networks that draw from it
    room = next(room for room, public in PUBLIC if public == name)
    value = thing(room, name)
    given = {"bundle": bundle("conv"), "model": model("mlp"), "folder": tmp_path}
    names = vars(importlib.import_module(value.__module__)) | given
    found = [
        test for test in doctest.DocTestFinder(recurse=False).find(value, name, globs=names) if test.examples
    ]
    assert found, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    for test in found:
        said: list[str] = []
        runner.run(test, out=said.append)
        assert not runner.failures, "".join(said)


def test_tiers_and_the_deprecation_rule_are_written_down():
    for tier in ("stable", "versioned", "provisional", "internal"):
        assert f"| {tier} |" in STABILITY
    assert "DeprecationWarning" in STABILITY
