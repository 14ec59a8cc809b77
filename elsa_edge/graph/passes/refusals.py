"""Why a pass left a place as it was: said by the pass, heard by whoever asks (`elsa-edge build -v`).

Passes run deep inside exporters and once per level, so the reasons travel over a logger, not through every
caller.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Final

import onnx_ir as ir

__all__ = ["refuse", "told"]

_LOGGER: Final = logging.getLogger("elsa_edge.graph.passes")


def refuse(rewrite: str, what: ir.Node | str, reason: str) -> None:
    """Say why a rewrite leaves something alone.

    Args:
        rewrite: Name of the pass, such as "fold BatchNorm".
        what: The node that would have been rewritten, or words for what is no node.
        reason: A clause without its full stop.
    """
    if isinstance(what, ir.Node):
        what = f"{what.op_type} {what.name or '(unnamed)'}"
    _LOGGER.debug("%s: %s stays, because %s", rewrite, what, reason)


class _Teller(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell, self._said = tell, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a sentence on, once: every level refuses the same."""
        sentence = record.getMessage()
        if sentence not in self._said:
            self._said.add(sentence)
            self._tell(sentence)


@contextlib.contextmanager
def told(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with each reason that a pass gives inside the block, each sentence once."""
    teller, level, upwards = _Teller(tell), _LOGGER.level, _LOGGER.propagate
    _LOGGER.addHandler(teller)
    _LOGGER.setLevel(logging.DEBUG)
    _LOGGER.propagate = False
    try:
        yield
    finally:
        _LOGGER.removeHandler(teller)
        _LOGGER.setLevel(level)
        _LOGGER.propagate = upwards
