"""A loaded variant held to what its adapter promised: what it says of itself once, what it answers at every run.

A run of a network with one output costs 0.4 to 0.8 microseconds more for it, measured on a shared Zen 3.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ElsaError, OutOfMemoryError, PluginError
from elsa_edge.plugins.blame import REPORT, blamed, failure
from elsa_edge.plugins.described import Described
from elsa_edge.plugins.protocols import CacheState, MemoryUse, Opened
from elsa_edge.tensors import TensorSpec

__all__ = ["GuardedOpened"]


class GuardedOpened(Described):
    """An opened variant as the rest of elsa-edge sees it; satisfies `Opened`."""

    def __init__(self, who: str, opened: Opened) -> None:
        self._who = who
        self._opened = opened
        with blamed(who, "its attributes"):
            inputs = _specs(who, "inputs", opened.inputs)
            outputs = _specs(who, "outputs", opened.outputs)
            levels: object = opened.level_count
            memory: object = opened.memory()
            cache: object = opened.cache
        if isinstance(levels, bool) or not isinstance(levels, int):
            raise _misfit(who, "a whole number as level_count", levels)
        if not isinstance(cache, CacheState):
            raise _misfit(who, "a CacheState as cache", cache)
        if not isinstance(memory, MemoryUse) or len(memory.level_bytes) != levels:
            raise _misfit(who, f"a MemoryUse of {levels} levels from memory()", memory)
        super().__init__(inputs, outputs, levels)
        self._types = {name: np.dtype(spec.dtype) for name, spec in outputs.items()}

    @classmethod
    def of(cls, who: str, opened: object) -> GuardedOpened:
        """Return what `Adapter.open` gave as something to rely on; it is closed when it is not.

        Raises:
            PluginError: When it does not satisfy `Opened`.
        """
        if not isinstance(opened, Opened):
            raise _misfit(who, "what satisfies elsa_edge.plugins.Opened from open", opened)
        try:
            return cls(who, opened)
        except ElsaError:
            with contextlib.suppress(ElsaError), blamed(who, "close"):
                opened.close()
            raise

    @property
    def cache(self) -> CacheState:
        """Whether it runs from files that were derived on this device."""
        return self._opened.cache

    def run(self, inputs: Mapping[str, npt.NDArray[Any]], level: int) -> dict[str, npt.NDArray[Any]]:
        """Run one inference; see `Opened.run`. The answer has the outputs that were promised, of their types."""
        try:
            answer = self._opened.run(inputs, level)
        except (ElsaError, KeyboardInterrupt):
            raise
        except MemoryError as error:
            raise OutOfMemoryError(f"{self._who} ran out of memory in run") from error
        except BaseException as error:  # not through `blamed`, which would cost a microsecond at each run
            raise failure(self._who, "run", error) from error
        types = self._types
        if type(answer) is not dict or len(answer) != len(types):
            raise _misfit(self._who, f"a dict of {', '.join(types)} from run", answer)
        for name, dtype in types.items():
            array = answer.get(name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                raise _misfit(self._who, f"an array of {dtype} as {name} from run", array)
        return answer

    def memory(self) -> MemoryUse:
        """Return the memory need, base and per level, as far as files and tensors tell it."""
        with blamed(self._who, "memory"):
            return self._opened.memory()

    def close(self) -> None:
        """Release the runtime and its memory. Closing twice is fine."""
        with blamed(self._who, "close"):
            self._opened.close()


def _specs(who: str, what: str, found: object) -> Mapping[str, TensorSpec]:
    if not isinstance(found, Mapping) or not all(isinstance(spec, TensorSpec) for spec in found.values()):
        raise _misfit(who, f"a mapping of names to TensorSpec as {what}", found)
    return found


def _misfit(who: str, expected: str, found: object) -> PluginError:
    return PluginError(f"{who} is not as it must be", expected=expected, found=_shown(found), fix=REPORT)


def _shown(value: object) -> str:
    """Show a value on one line: an array by its type, a dict by its names."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(str, value)) or 'nothing'}"
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__}"
