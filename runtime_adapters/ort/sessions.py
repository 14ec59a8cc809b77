"""Run ONNX Runtime sessions: every level in one session, or one session per level.

Between the caller and the runtime stands as little Python as can be: after a network has filled the caches with its
weights, each microsecond of Python measured in a loop costs five.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import BundleError, ElsaError
from elsa_edge.plugins import NO_CACHE, CacheState, MemoryUse, check_level
from elsa_edge.plugins.described import Described
from elsa_edge.runtime_adapters.failures import failure
from elsa_edge.tensors import TensorSpec, check_inputs

__all__ = ["LevelInputSession", "SessionPerLevel", "give_memory_back", "specs_of"]

Array = npt.NDArray[Any]
Session = Any  # onnxruntime ships no types
Call = Callable[..., list[Array]]

_LEVEL_INPUT: Final = "level"
_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


def give_memory_back() -> None:
    """Return freed memory to the system, which glibc otherwise keeps for this process."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return  # not glibc


def specs_of(entries: list[Any]) -> dict[str, TensorSpec]:
    """Describe a session's inputs or outputs, without the level."""
    specs = {}
    for entry in entries:
        if entry.name == _LEVEL_INPUT:
            continue
        if entry.type not in _DTYPES:
            raise BundleError(
                f"{entry.name} has a type that is not supported",
                expected=", ".join(_DTYPES),
                found=entry.type,
            )
        shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in entry.shape)
        specs[entry.name] = TensorSpec(entry.name, shape, _DTYPES[entry.type])
    return specs


class _Gate:
    """Lets inputs in that fit the network; others get `check_inputs` and its explanation.

    Shapes that fitted once are remembered. After a network has filled the caches with weights, Python runs five times
    slower than in a loop of its own, so every step saved here counts: checking anew each time cost 8 % on an MLP.
    """

    _MOST_SHAPES: Final = 64

    def __init__(self, specs: Mapping[str, TensorSpec]) -> None:
        self._specs = specs
        self._known: list[tuple[str, Any, set[tuple[int, ...]]]] = [
            (name, np.dtype(spec.dtype), set()) for name, spec in specs.items()
        ]

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the inputs as arrays of the right type; raises InputError."""
        if len(inputs) == len(self._known):
            for name, dtype, shapes in self._known:
                array = inputs.get(name)
                # numpy has one object for each native type; other spellings take the long way
                if type(array) is not np.ndarray or array.dtype is not dtype or array.shape not in shapes:
                    break
            else:
                return dict(inputs)
        checked = check_inputs(self._specs, inputs)
        for name, _, shapes in self._known:
            if len(shapes) < self._MOST_SHAPES:
                shapes.add(checked[name].shape)
        return checked


def _caller(session: Session) -> Call:
    """Return what runs a session: the wrapped object's method where there is one.

    The wrapper checks names again, which `_Gate` has done; on an MLP of half a millisecond that costs 2 %.
    """
    inner = getattr(getattr(session, "_sess", None), "run", None)
    run: Call = inner if callable(inner) else session.run
    return run


def _run(call: Call, names: list[str], feed: dict[str, Array]) -> dict[str, Array]:
    try:
        answers = call(names, feed, None)
    except Exception as error:
        raise failure("ONNX Runtime", error) from error
    return dict(zip(names, answers, strict=False))  # one answer for each name is asked for


class LevelInputSession(Described):
    """One session in which every level lives; `level` is an input of the graph. See `elsa_edge.plugins.Opened`.

    Args:
        session: All levels.
        level_count: How many.
        memory: The memory need, base and per level.
        cache: Whether the session runs from an optimised file.
        plain: Level -> a session of that level alone, which runs in the place of the first one.

    Raises:
        BundleError: When a plain session has other inputs or outputs.
    """

    def __init__(
        self,
        session: Session,
        level_count: int,
        memory: MemoryUse,
        cache: CacheState,
        plain: Mapping[int, Session],
    ) -> None:
        super().__init__(specs_of(session.get_inputs()), specs_of(session.get_outputs()), level_count)
        for level, one in plain.items():
            _require_same(f"The plain network of level {level}", one, self._inputs, self._outputs)
        self._plain: dict[int, Call] = {level: _caller(one) for level, one in plain.items()}
        self._cache = cache
        self._session: Session | None = session
        self._call: Call | None = _caller(session)
        self._memory = memory
        self._names = list(self._outputs)
        self._gate = _Gate(self._inputs)
        self._levels = [np.array(level, np.int64) for level in range(level_count)]

    @property
    def cache(self) -> CacheState:
        """Whether the session runs from an optimised, mapped file."""
        return self._cache

    def run(self, inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        """Run one inference at `level`; see `Opened.run`."""
        k = (
            level
            if type(level) is int and 0 <= level < self._level_count
            else check_level(level, self._level_count)
        )
        feed = self._gate(inputs)
        if self._call is None:
            raise ElsaError("The network is closed", fix="Open it again")
        if k in self._plain:
            return _run(self._plain[k], self._names, feed)
        feed[_LEVEL_INPUT] = self._levels[k]
        return _run(self._call, self._names, feed)

    def memory(self) -> MemoryUse:
        """Return the memory need, base and per level."""
        return self._memory

    def close(self) -> None:
        """Release the session and its memory."""
        self._session = self._call = None
        self._plain = {}
        give_memory_back()


def _require_same(
    what: str, session: Session, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> None:
    """Check that a session of one level takes and gives what all levels do.

    Raises:
        BundleError: When it does not.
    """
    for kind, promised, found in (
        ("inputs", inputs, specs_of(session.get_inputs())),
        ("outputs", outputs, specs_of(session.get_outputs())),
    ):
        if set(promised) != set(found) or not all(
            spec.agrees(found[name]) for name, spec in promised.items()
        ):
            raise BundleError(
                f"{what} has other {kind} than the variant's other levels",
                expected=", ".join(map(str, promised.values())),
                found=", ".join(map(str, found.values())) or "none",
                fix="Build the bundle again",
            )


class SessionPerLevel(Described):
    """One network per level, of which one is loaded: the least memory. Switching closes one before opening the next.

    Nothing is loaded before the first run, so that a program which begins at another level loads only that one.

    Args:
        models: A file per level, sparsest first.
        open_session: Makes a session of one of them.
        memory: The memory need, base and per level.
        inputs: What every file takes, without the level.
        outputs: What every file gives.
    """

    def __init__(
        self,
        models: list[Path],
        open_session: Callable[[Path], Session],
        memory: MemoryUse,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
    ) -> None:
        super().__init__(inputs, outputs, len(models))
        self._models = models
        self._open = open_session
        self._memory = memory
        self._session: Session | None = None
        self._call: Call | None = None
        self._resident: int | None = None
        self._closed = False
        self._names = list(outputs)
        self._gate = _Gate(inputs)

    @property
    def cache(self) -> CacheState:
        """Nothing is derived: the files are small and load fast."""
        return NO_CACHE

    @property
    def resident_level(self) -> int | None:
        """The level whose session is loaded, if any."""
        return self._resident

    def run(self, inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        """Run one inference at `level`, loading it first where needed; see `Opened.run`."""
        count = self._level_count
        k = level if type(level) is int and 0 <= level < count else check_level(level, count)
        feed = self._gate(inputs)  # wrong inputs must not cost a switch
        call = self._call if k == self._resident and self._call is not None else self._load(k)
        return _run(call, self._names, feed)

    def memory(self) -> MemoryUse:
        """Return the memory need, base and per level."""
        return self._memory

    def close(self) -> None:
        """Release the session and its memory."""
        self._closed = True
        self._drop()

    def _load(self, level: int) -> Call:
        """Load a level.

        Raises:
            BundleError: When the runtime refuses its file, or that has other inputs or outputs than were promised.
        """
        if self._closed:
            raise ElsaError("The network is closed", fix="Open it again")
        self._drop()
        model = self._models[level]
        session = self._open(model)
        _require_same(model.name, session, self._inputs, self._outputs)
        self._session, self._call, self._resident = session, _caller(session), level
        return self._call

    def _drop(self) -> None:
        if self._session is not None:
            self._session = self._call = self._resident = None
            give_memory_back()
