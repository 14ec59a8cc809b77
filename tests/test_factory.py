"""Factories named on the command line: found, called, and refused with a reason."""

from __future__ import annotations

import sys
import textwrap

import pytest

from elsa_edge.errors import ElsaError, UsageError
from elsa_edge.factory import build_model, load_factory


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "some_nets.py").write_text(
        textwrap.dedent("""
        from torch import nn
        def good(): return nn.Linear(2, 3)
        def wide(width): return nn.Linear(width, 3)
        def number(): return 3
        def broken(): raise RuntimeError("no luck")
        class Family:
            @staticmethod
            def small(): return nn.Linear(1, 1)
        plain = 7
        """)
    )
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    (tmp_path / "bad_syntax.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("some_nets", "needs_more", "bad_syntax"):
        sys.modules.pop(name, None)


def test_a_factory_in_the_current_folder_is_found(folder):
    """Functions, classes and dotted names make networks."""
    assert build_model("some_nets:good").weight.shape == (3, 2)
    assert build_model("some_nets:Family.small").weight.shape == (1, 1)
    assert load_factory("torch.nn:Identity") is not None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("some_nets", "expected PKG.MODULE:FACTORY, found 'some_nets'"),
        ("some_nets:", "expected PKG.MODULE:FACTORY"),
        ("../some_nets:good", "expected PKG.MODULE:FACTORY"),
        ("no_such_module:f", "no 'no_such_module' on sys.path"),
        ("needs_more:f", "needs 'not_installed_anywhere', which is not installed"),
        ("bad_syntax:f", "Importing bad_syntax failed"),
        ("some_nets:goood", "Nearest: 'good'"),
        ("some_nets:plain", "cannot be called"),
        ("some_nets:wide", "cannot be called without arguments"),
        ("some_nets:number", "expected a torch.nn.Module, found int"),
    ],
)
def test_mistakes_are_usage_errors(folder, spec, message):
    """Each mistake has its own sentence."""
    with pytest.raises(UsageError) as caught:
        build_model(spec)
    assert message in str(caught.value)


def test_a_factory_that_raises_is_named(folder):
    """What the user's code said is passed on."""
    with pytest.raises(ElsaError, match=r"some_nets:broken failed .RuntimeError: no luck"):
        build_model("some_nets:broken")
