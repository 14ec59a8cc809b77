"""Exporters and adapters are found by name, and one that is broken, doubled or something else is told in a sentence."""

from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from elsa_edge.errors import PluginError, RuntimeUnavailableError, UnknownNameError
from elsa_edge.plugins import Adapter, Exporter, registry
from elsa_edge.plugins.installed import find_adapter, find_exporter
from elsa_edge.plugins.registry import ADAPTERS, EXPORTERS


def register(monkeypatch: pytest.MonkeyPatch, group: str, *targets: str) -> None:
    """Let entry points called `theirs` lead to these objects."""
    entries = tuple(EntryPoint("theirs", target, group) for target in targets)
    monkeypatch.setattr(registry, "_entries", lambda _: entries)


def put(monkeypatch: pytest.MonkeyPatch, **content: object) -> None:
    """Make a module `their_module` with this content."""
    module = types.ModuleType("their_module")
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, "their_module", module)


@pytest.mark.parametrize("name", registry.names(EXPORTERS))
def test_every_exporter_keeps_the_protocol_and_its_name(name: str) -> None:
    """What is registered can be built and is called what it says; each names a registered adapter."""
    exporter = find_exporter(name)
    assert isinstance(exporter, Exporter)
    assert exporter.name == name
    assert isinstance(find_adapter(exporter.runtime), Adapter)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    """The error lists what there is."""
    with pytest.raises(UnknownNameError, match=r"no exporter named 'ort-swich'.*ort-switch"):
        find_exporter("ort-swich")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("onnxruntime_x", "none of elsa-edge's extras does"),
        ("skimage_x", "Install the package that provides the module skimage_x"),
    ],
)
def test_a_missing_module_is_never_taken_for_a_package(
    monkeypatch: pytest.MonkeyPatch, module: str, words: str
) -> None:
    """Nobody is told to install whatever has that name: it may be somebody else's."""
    register(monkeypatch, ADAPTERS, f"{module}.inside:thing")
    with pytest.raises(RuntimeUnavailableError, match=words) as caught:
        find_adapter("theirs")
    assert "pip install" not in str(caught.value)


def test_a_missing_module_of_ours_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX's tools come with elsa-edge[export]."""
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    monkeypatch.delitem(sys.modules, "elsa_edge.exporters.ort.switch", raising=False)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'elsa-edge\[export\]'"):
        find_exporter("ort-switch")


@pytest.mark.parametrize(
    "error",
    [
        SyntaxError("bad"),
        ImportError("no such name"),
        RuntimeError("at import"),
        SystemExit(0),
        GeneratorExit("g"),
    ],
)
def test_a_module_that_fails_is_named_with_its_error(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whatever it raises becomes one sentence."""

    def load(_entry: EntryPoint) -> None:
        raise error

    register(monkeypatch, EXPORTERS, "their_module:Thing")
    monkeypatch.setattr(EntryPoint, "load", load)
    with pytest.raises(
        PluginError, match=rf"their_module:Thing fails with {type(error).__name__} \({error}\)"
    ):
        find_exporter("theirs")


def test_an_object_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module without what its entry point promises."""
    put(monkeypatch)
    register(monkeypatch, EXPORTERS, "their_module:Thing")
    with pytest.raises(PluginError, match="their_module:Thing fails with AttributeError"):
        find_exporter("theirs")


def test_two_plugins_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one ran would be luck; the same one registered twice is no conflict."""
    put(monkeypatch, Thing=object)
    register(monkeypatch, EXPORTERS, "their_module:Thing", "another_module:Thing")
    with pytest.raises(PluginError, match=r"their_module:Thing of .* and another_module:Thing of "):
        find_exporter("theirs")
    register(monkeypatch, EXPORTERS, "their_module:Thing", "their_module:Thing")
    assert registry.find(EXPORTERS, "theirs") is object


class _Renamed:
    name, runtime = "another", "onnxruntime"

    def preflight(self) -> None: ...

    def export(self) -> None: ...


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (object, "does not satisfy elsa_edge.plugins.Exporter: found object without export, name, preflight"),
        (lambda needed: needed, "expected a class without constructor arguments"),
        (7, "expected a class without constructor arguments"),
        (_Renamed, "calls itself 'another'"),
    ],
)
def test_what_is_no_exporter_is_refused(monkeypatch: pytest.MonkeyPatch, thing: object, words: str) -> None:
    """Before anything is called; what is lacking is listed."""
    put(monkeypatch, Thing=thing)
    register(monkeypatch, EXPORTERS, "their_module:Thing")
    with pytest.raises(PluginError, match=words):
        find_exporter("theirs")


def test_what_is_no_adapter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the functions that adapters once were."""
    put(monkeypatch, open_variant=lambda: None)
    register(monkeypatch, ADAPTERS, "their_module:open_variant")
    with pytest.raises(PluginError, match="NoneType without choices, missing, open"):
        find_adapter("theirs")
