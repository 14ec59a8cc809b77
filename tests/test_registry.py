"""Exporters and adapters are found by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from elsa_edge import registry
from elsa_edge.errors import RuntimeUnavailableError, UnknownNameError
from elsa_edge.plugins import Exporter


def test_every_exporter_keeps_the_protocol_and_its_name():
    """What is registered can be built and is called what it says; each names a registered adapter."""
    for name in registry.names(registry.EXPORTERS):
        exporter = registry.find(registry.EXPORTERS, name)()
        assert isinstance(exporter, Exporter)
        assert exporter.name == name
        assert exporter.runtime in registry.names(registry.ADAPTERS)


def test_an_unknown_name_is_answered_with_the_known_ones():
    """The error lists what there is."""
    with pytest.raises(UnknownNameError, match=r"no exporter named 'ort-swich'.*ort-switch"):
        registry.find(registry.EXPORTERS, "ort-swich")


def test_a_missing_dependency_is_named(monkeypatch):
    """An exporter whose runtime is not installed says what to install."""
    entry = EntryPoint("broken", "no_such_package.module:thing", registry.ADAPTERS)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [entry])
    with pytest.raises(RuntimeUnavailableError, match="pip install no_such_package"):
        registry.find(registry.ADAPTERS, "broken")
