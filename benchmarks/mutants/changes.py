"""One-point changes of a file by cosmic-ray's operators, without those that change nothing.

A change inside an annotation counts as none: nearly all are never evaluated. Changes that were looked at and found to
be equal in effect are named, with the reason, in `EQUAL`.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from typing import Final

__all__ = ["EQUAL", "Change", "changes", "sample"]

# The changed line as it then stands -> why nobody can tell it from the original.
EQUAL: Final[dict[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Change:
    """A change: the operator that made it, the new source, and the line before and after."""

    operator: str
    source: str
    before: str
    after: str


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(0)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _meaning(source: str) -> str:
    return ast.dump(_WithoutAnnotations().visit(ast.parse(source)))


def changes(source: str) -> Iterator[Change]:
    """Yield every change of a source that means something else."""
    import cosmic_ray.plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    meaning = _meaning(source)
    nodes = list(ast_nodes(get_ast(source)))
    seen = {source}
    for name in cosmic_ray.plugins.operator_names():
        kind = cosmic_ray.plugins.get_operator(name)
        if kind.arguments():
            continue
        operator = kind()
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
            changed = mutate_code(source, operator, occurrence)
            if changed is None or changed in seen:
                continue
            seen.add(changed)
            try:
                same = _meaning(changed) == meaning
            except SyntaxError:
                continue
            if not same:
                yield Change(name.removeprefix("core/"), changed, *_lines(source, changed))


def _lines(source: str, changed: str) -> tuple[str, str]:
    """Return the first line that differs, before and after, with its number."""
    before = after = ""
    for line in unified_diff(source.splitlines(), changed.splitlines(), lineterm="", n=0):
        if line.startswith("-") and not line.startswith("---") and not before:
            before = line[1:].strip()
        if line.startswith("+") and not line.startswith("+++") and not after:
            after = line[1:].strip()
    return before, after


def sample(source: str, count: int, seed: int = 0) -> list[Change]:
    """Return `count` random changes of a source, the same ones for the same seed, one of a kind for each line first."""
    every = list(changes(source))
    chance = random.Random(seed)  # noqa: S311 - no secret
    chance.shuffle(every)
    first: dict[tuple[str, str], Change] = {}
    for change in every:
        first.setdefault((change.before, change.operator.split("_")[0]), change)
    chosen = list(first.values())
    rest = [change for change in every if change not in chosen]
    return (chosen + rest)[:count]
