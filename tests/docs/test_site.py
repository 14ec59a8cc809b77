"""The pages as a newcomer uses them: everything is found from the index, and what is written exists."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

import elsa_edge
from elsa_edge.cli import cli

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))
WRITTEN = [ROOT / "README.md", ROOT / "SKILL.md", *PAGES]
LINK = re.compile(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)")

# What a newcomer asks, and words of the answer.
QUESTIONS = {
    "How do I install it without CUDA?": "CPU build of torch",
    "What do I bring?": "its checkpoint, and the shape of its input",
    "Which granularity?": "Start with `unstructured`",
    "Which variant on a Pi 4, a Pi 5, a phone?": "`tflite-levels`",
    "How accurate is each level, and how do I find out?": "elsa-edge evaluate",
    "How fast is it against my int8 network?": "`ort-int8`",
    "How do I get it onto the device?": "elsa-edge deploy",
    "What if I have only ONNX?": "without torch",
    'What does "proved" mean?': "compared with the canonical graph",
    "What may a bundle do on my device?": "Nothing in it is executed",
}


def links(page):
    """Return the pages that a page links to."""
    return {(page.parent / target).resolve() for target in LINK.findall(page.read_text())}


def nav(entries):
    """Return the pages of mkdocs.yml."""
    found = set()
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found |= nav(value) if isinstance(value, list) else {value}
    return found


def test_every_page_is_one_click_from_the_index_and_in_the_navigation():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    names = {str(page.relative_to(DOCS)) for page in PAGES}
    assert nav(settings["nav"]) == names
    assert {page.resolve() for page in PAGES} - links(DOCS / "index.md") == {(DOCS / "index.md").resolve()}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_newcomers_question_is_answered_within_two_clicks(question):
    """The section that bears the question answers it, and what it links to exists."""
    near = links(DOCS / "index.md")
    reachable = near | {far for page in near for far in links(page)}
    for page in reachable:
        _, found, rest = page.read_text().partition(f"## {question}\n")
        if found:
            assert QUESTIONS[question] in rest.partition("\n## ")[0]
            return
    pytest.fail(f"no page answers: {question}")


def commands(text):
    """Return each `elsa-edge ...` line of a page's blocks, fenced or indented, with continued lines joined."""
    fenced = re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4,}(elsa-edge .*)$", text.replace("\\\n", " "), re.MULTILINE)
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    found = [line.partition(" #")[0] for line in [*lines, *indented] if line.startswith("elsa-edge ")]
    return [line.removeprefix("elsa-edge ") for line in found]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_command_that_is_written_exists(page):
    """Verb, sub-command and options of each line, also of those that need a device and are not run here."""
    for line in commands(page.read_text()):
        if "[" in line or "..." in line:
            continue
        words = shlex.split(line.split(" | ")[0].split(" > ")[0])
        command, context = cli, click.Context(cli)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.get_command(context, words.pop(0))
            assert command is not None, line
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= known | {"--help", "--version", "-V"}, f"{page.name}: {line}: {used - known}"


def test_every_public_name_is_documented():
    """In its docstring, and on the page of the reference."""
    page = (DOCS / "reference" / "python.md").read_text()
    for name in elsa_edge.__all__:
        if name == "__version__":
            continue
        assert (getattr(elsa_edge, name).__doc__ or "").strip(), name
        assert re.search(rf"^::: elsa_edge\.[\w.]*\b{name}$", page, re.MULTILINE), name


@pytest.mark.parametrize(
    "module", ["elsa_edge.plugins.protocols", "elsa_edge.errors", "elsa_edge.profiles.schema"]
)
def test_every_name_of_the_referenced_modules_is_documented(module):
    loaded = importlib.import_module(module)
    missing = [
        name
        for name in loaded.__all__
        if callable(getattr(loaded, name)) and not getattr(loaded, name).__doc__
    ]
    assert not missing
