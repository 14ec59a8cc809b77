"""Fixtures for every room: each network of the zoo is exported once a process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from support.warm import warm_commands
from support.zoo import ZOO, nested_checkpoint

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical

torch.set_num_threads(1)
# How long an example takes is the machine's affair: no property is about time.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Minutes each: begun last, one of them would leave the other worker with nothing to do.
_LONG = (
    "test_readme.py",
    "test_docs.py",
    "benchmarks/test_switching_and_export.py",
    "quickstart/test_quickstart.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; within a file, and among the others, the order stays."""
    tests = Path(__file__).parent
    long = {tests / name for name in _LONG}
    items.sort(key=lambda item: item.path not in long)


@cache
def _canonical(name: str) -> CanonicalGraph:
    checkpoint, model = nested_checkpoint(ZOO[name])
    return export_canonical(checkpoint, model, ZOO[name].inputs)


@pytest.fixture(params=sorted(ZOO))
def any_graph(request) -> CanonicalGraph:
    """Every network of the zoo in turn, as a canonical graph. Do not modify it: it is shared."""
    return _canonical(request.param)


@pytest.fixture
def canonical():
    """Return a function from a zoo name to its canonical graph. Do not modify what it returns: it is shared."""
    return _canonical


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    """A folder for the front of PATH: `elsa-edge` and `python` that need not import torch again (support/warm.py)."""
    folder = Path(tempfile.mkdtemp(prefix="ee-"))
    with warm_commands(folder) as commands:
        yield commands
    shutil.rmtree(folder)
