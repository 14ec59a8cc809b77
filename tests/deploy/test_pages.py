"""Commands that the pages show without running them, since they need a board: each is one that there is.

Fenced `sh` blocks are run, by tests/test_docs.py; what stands indented is parsed here, word for word, by the command
line itself: verbs, options, how many arguments, kinds of values.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from elsa_edge.cli import cli

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHOWN = re.compile(r"^    (elsa-edge .*)$", re.MULTILINE)
COMMANDS = [
    (page.name, re.split(r" {3,}|  #", command)[0])
    for page in sorted(DOCS.glob("*.md"))
    for command in SHOWN.findall(page.read_text())
]


def parse(
    command: click.Command, name: str, words: list[str], parent: click.Context | None = None
) -> click.Context:
    """Parse words as the command line does, down to the verb; nothing is invoked."""
    with command.make_context(name, words, parent=parent) as context:
        if not isinstance(command, click.Group):
            return context
        rest = [*context._protected_args, *context.args]
        verb, found, rest = command.resolve_command(context, rest)
        assert found is not None
        return parse(found, str(verb), rest, context)


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_that_a_page_shows_is_one(page: str, command: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(cli, "elsa-edge", shlex.split(command)[1:]).command.callback is not None, page


def test_the_page_on_devices_shows_commands() -> None:
    assert len([page for page, _ in COMMANDS if page == "deploy.md"]) >= 8
