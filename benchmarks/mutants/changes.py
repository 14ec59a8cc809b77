"""One-point changes of a file by cosmic-ray's operators, without those that change nothing.

A change inside an annotation counts as none: nearly all are never evaluated. Changes that were looked at and found to
be equal in effect are named, with the reason, in `EQUAL`.
"""

from __future__ import annotations

import ast
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cosmic_ray.operators.operator import Operator

__all__ = ["EQUAL", "Change", "sample"]

# The changed line as it then stands -> why nobody can tell it from the original.
EQUAL: Final[dict[str, str]] = {
    "histogram = np.bincount(index.reshape(-1), minlength=NEVER | 1)[:level_count]": "cut below 255 afterwards",
    "return index.astype(np.uint8, copy=True)": "one copy more of a fresh array",
    "if type(told) is int and told <= 1:": "smaller formats than 1 were refused before",
    "_CHUNK_BYTES: Final = 1 | 20": "pieces of 21 bytes hash to the same",
    "if silence.level >= last:": "no level is beyond the last",
    "everywhere = {name for name in depending if len([s for s in found if s.output == name]) is len(levels)}": (
        "small whole numbers are one object"
    ),
    "chosen = np.random.default_rng(turn).choice(samples.reshape(- 2), samples.shape)": (
        "numpy takes any negative number for the free size"
    ),
    "if density >= 2.0:": "a shortcut: every weight is kept without it, too",
}


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


def _places(source: str) -> Iterator[tuple[Operator, str, int, int]]:
    """Yield every place that an operator changes: the operator, its name, the occurrence, and the line.

    Finding the places walks the tree once; making a change parses the file again, and so is done for chosen ones only.
    """
    import cosmic_ray.plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    nodes = list(ast_nodes(get_ast(source)))
    for name in cosmic_ray.plugins.operator_names():
        kind = cosmic_ray.plugins.get_operator(name)
        if kind.arguments():
            continue
        operator, occurrence = kind(), 0
        for node in nodes:
            for (line, _), _ in operator.mutation_positions(node):
                yield operator, name.removeprefix("core/"), occurrence, line
                occurrence += 1


def _lines(source: str, changed: str) -> tuple[str, str]:
    """Return the first line that differs, before and after, with its number."""
    before = after = ""
    for line in unified_diff(source.splitlines(), changed.splitlines(), lineterm="", n=0):
        if line.startswith("-") and not line.startswith("---") and not before:
            before = line[1:].strip()
        if line.startswith("+") and not line.startswith("+++") and not after:
            after = line[1:].strip()
    return before, after


def sample(source: str, count: int, seed: int = 0) -> tuple[list[Change], int]:
    """Return `count` random changes of a source, one of a kind for each line first, and how many places there are.

    The same seed draws the same changes.
    """
    from cosmic_ray.mutating import mutate_code

    every = list(_places(source))
    random.Random(seed).shuffle(every)  # noqa: S311 - no secret
    first = {(line, name.split("_")[0]): place for place in reversed(every) for _, name, _, line in [place]}
    chosen = sorted(first.values(), key=every.index)
    meaning, seen = _meaning(source), {source}
    found: list[Change] = []
    for place in chain(chosen, (place for place in every if place not in chosen)):
        operator, name, occurrence, _ = place
        changed = mutate_code(source, operator, occurrence)
        if changed is None or changed in seen:
            continue
        seen.add(changed)
        with contextlib.suppress(SyntaxError):
            if _meaning(changed) != meaning:
                found.append(Change(name, changed, *_lines(source, changed)))
        if len(found) == count:
            break
    return found, len(every)
