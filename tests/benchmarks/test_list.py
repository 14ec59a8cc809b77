"""`python -m benchmarks` names every benchmark, and each takes `--json`."""

from __future__ import annotations

import importlib

import click
import pytest

from benchmarks.__main__ import found

# Tools that make what benchmarks need; they measure nothing.
TOOLS = {"deploy_bytes", "deploy_cuts", "kit", "userland"}


@pytest.mark.parametrize("name", sorted({name for name, _ in found()} - TOOLS))
def test_every_benchmark_can_tell_a_machine(name: str) -> None:
    """The option stands on the command itself or on those of its verbs that have results."""
    folder = importlib.util.find_spec(f"benchmarks.{name}").submodule_search_locations
    main = importlib.import_module(f"benchmarks.{name}" + (".__main__" if folder else "")).main
    commands = main.commands.values() if isinstance(main, click.Group) else [main]

    options = {option for command in commands for one in command.params for option in one.opts}
    assert "--json" in options


def test_a_line_says_what_each_is() -> None:
    listed = dict(found())

    assert {"latency", "switching", "export", "tflite", "qos", "zoo"} <= set(listed)
    assert "policies" not in listed
    assert all(len(said) > 20 for said in listed.values())
