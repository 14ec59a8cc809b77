"""Advice about a missing module names the extra of pyproject.toml that brings it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from elsa_edge.extras import MODULES, how_to_install

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


# Modules that are not called like their package.
PACKAGES = {
    "ai_edge_litert": "ai-edge-litert",
    "litert_quantizer": "litert-quantizer",
    "onnx_ir": "onnx-ir",
    "opentelemetry": "opentelemetry-api",
    "PIL": "pillow",
    "prometheus_client": "prometheus-client",
    "yaml": "pyyaml",
}


def packages_of(lines: list[str]) -> set[str]:
    """Return the names of packages in requirements, without our own extras."""
    return {re.split(r"[<>=!;\[ ]", line)[0].lower() for line in lines} - {"elsa-edge"}


def test_the_table_is_that_of_pyproject() -> None:
    """Each module's package is asked for by its extra, and no package of an extra was forgotten."""
    extras = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    for extra, modules in MODULES.items():
        assert {PACKAGES.get(module, module) for module in modules} <= packages_of(extras[extra]), extra
    known = {PACKAGES.get(module, module) for modules in MODULES.values() for module in modules}
    for_users = [line for extra, lines in extras.items() if extra not in ("dev", "docs") for line in lines]
    assert packages_of(for_users) == known


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("onnx_ir.passes", "Install it: pip install 'elsa-edge[export]'"),
        ("yaml", "Install elsa-edge again: pip install --force-reinstall elsa-edge"),
        ("elsa_edge.gone", "Install elsa-edge again: pip install --force-reinstall elsa-edge"),
        (None, "Install elsa-edge again: pip install --force-reinstall elsa-edge"),
        ("skimage", "Install the package that provides the module skimage; none of elsa-edge's extras does"),
    ],
)
def test_the_advice_never_names_a_module_as_a_package(module: str | None, sentence: str) -> None:
    """yaml and skimage are not what their packages are called."""
    assert how_to_install(module) == sentence
