"""Saying which kernels run, from the library itself."""

from __future__ import annotations

import pytest
from support.bundles import bundle

from elsa_edge import AdaptiveSession
from elsa_edge.bundle import open_bundle
from elsa_edge.nested_format.library import LIBRARY_VARIABLE, library_path
from elsa_edge.profiles.schema import Runtime
from elsa_edge.what_runs import WhatRuns, what_runs


def test_a_session_says_what_it_runs_with():
    """A variant of the runtime's own operators has no instruction set of ours."""
    with AdaptiveSession.open(bundle("conv"), variant="ort-switch", cache=False) as session:
        runs = session.what_runs
    assert runs == WhatRuns("ort-switch", "onnxruntime", "model", 1, None)
    assert str(runs) == "ort-switch (model) on onnxruntime, the runtime's own kernels, threads: 1"


@pytest.mark.skipif(library_path() is None, reason="the kernels are not compiled here")
def test_our_kernels_tell_their_instruction_set(monkeypatch, tmp_path):
    """The name comes from the library that runs; one that is no library tells nothing."""
    variant = (
        open_bundle(bundle("conv")).manifest.variant("ort-switch").model_copy(update={"name": "ort-nested"})
    )
    told = what_runs(variant, Runtime(threads=2)).instruction_set
    assert told is not None
    assert told in library_path().read_bytes().decode("latin-1")

    other = tmp_path / "lib.so"
    other.write_bytes(b"no library")
    monkeypatch.setenv(LIBRARY_VARIABLE, str(other))
    assert what_runs(variant, Runtime()).instruction_set is None
