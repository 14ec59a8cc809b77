"""Which engines run which levels of a network, and how each is opened: ours and ONNX Runtime here, peers elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.common.sessions import INPUT, dense_session, open_variant, profile_for
from benchmarks.latency.files import Subject
from benchmarks.latency.timing import Run, here
from benchmarks.peers import Peer, PeerError
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import ElsaError, first_line

__all__ = [
    "BASE",
    "BASE_ELSEWHERE",
    "Absent",
    "Engine",
    "nested_engines",
    "open_litert",
    "peer_engines",
    "plain_engines",
]

BASE: Final = "ort-dense"
BASE_ELSEWHERE: Final = "ort-dense (own process)"
# OpenVINO uses the zeros of a weight from this rate on, and only in int8 products with a matrix.
_SPARSE_RATE: Final = {"CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": 0.5}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Engine:
    """Something to time.

    Attributes:
        name: The engine.
        sparsity: Of the level that it runs.
        run: What runs it.
        base: The engine that it is compared with.
        difference: Its largest difference from the float network of that level, relative to the largest output; None
            where it was not compared here.
    """

    name: str
    sparsity: float
    run: Run
    base: str = BASE
    difference: float | None = None


@dataclass(frozen=True)
class Absent:
    """An engine that could not be measured, and why."""

    name: str
    note: str


def _profile(threads: int) -> Any:
    profile = profile_for("ort-nested")
    runtime = profile.runtime.model_copy(update={"threads": threads})
    return profile.model_copy(update={"runtime": runtime})


def _difference(found: Array, expected: Array) -> float:
    scale = max(1e-30, float(np.abs(expected).max()))
    return float(np.abs(found.ravel() - expected.ravel()).max()) / scale


def plain_engines(subject: Subject, threads: int) -> Iterator[Engine | Absent]:
    """Yield the dense network and its int8 form, in ONNX Runtime as the profile opens it."""
    for name, make in ((BASE, subject.fixed), ("ort-int8", subject.quantised)):
        try:
            session = dense_session(make(subject.dense), _profile(threads))
        except Exception as error:  # noqa: BLE001 - the quantiser may raise anything, and its row then says so
            yield Absent(name, first_line(error))
            continue
        yield Engine(name, 0.0, here(partial(session.run, None, subject.inputs)))


def nested_engines(
    subject: Subject, name: str, folder: Path, variant: Variant, threads: int
) -> Iterator[Engine]:
    """Yield every level of a file of ours, run as an application would."""
    adapter = open_variant(folder, variant, _profile(threads).runtime)
    for level, sparsity in enumerate(subject.ladder):
        yield Engine(name, sparsity, here(partial(adapter.run, subject.inputs, level)))


def peer_engines(
    subject: Subject, sparsities: tuple[float, ...], stack: ExitStack
) -> Iterator[Engine | Absent]:
    """Yield the engines of others on one thread; their processes end with `stack`."""
    levels = [subject.ladder.index(sparsity) for sparsity in sparsities]
    sparse = [level for level in levels if level != subject.dense]
    reference = {level: _reference(subject, level) for level in levels}
    yield from _litert(subject, sparse, reference)

    plans: list[tuple[str, str, Callable[[int], Path], list[int], dict[str, object]]] = [
        ("onnxruntime", BASE_ELSEWHERE, subject.fixed, [subject.dense], {}),
        ("openvino", "openvino", subject.fixed, [subject.dense], {}),
        ("openvino", "openvino-sparse", subject.fixed, sparse, dict(_SPARSE_RATE)),
        ("openvino", "openvino-int8", subject.quantised, [subject.dense], {}),
        ("openvino", "openvino-int8-sparse", subject.quantised, sparse, dict(_SPARSE_RATE)),
        ("deepsparse", "deepsparse", subject.for_deepsparse, [subject.dense], {}),
        ("deepsparse", "deepsparse-sparse", subject.for_deepsparse, sparse, {}),
    ]
    peers: dict[str, Peer | PeerError] = {}
    for package, name, make, wanted, options in plans:
        if package not in peers:
            try:
                peers[package] = stack.enter_context(Peer(package))
            except PeerError as error:
                peers[package] = error
        peer = peers[package]
        if isinstance(peer, PeerError):
            yield Absent(name, str(peer))
            continue
        for level in wanted:
            key = f"{name}@{level}"
            try:
                output = peer.load(key, make(level), subject.input_path, options)
            except PeerError as error:
                yield Absent(name, str(error))
                break
            difference = _difference(output, reference[level])
            yield Engine(name, subject.ladder[level], partial(peer.run, key), BASE_ELSEWHERE, difference)


def _reference(subject: Subject, level: int) -> Array:
    session = dense_session(subject.fixed(level), _profile(1))
    return np.asarray(session.run(None, subject.inputs)[0])


def _litert(subject: Subject, sparse: list[int], reference: dict[int, Array]) -> Iterator[Engine | Absent]:
    for name, kind, wanted in (
        ("litert", "dense", [subject.dense]),
        ("litert-sparse", "sparse", sparse),
        ("litert-int8", "int8", [subject.dense]),
    ):
        for level in wanted:
            try:
                run, output = open_litert(subject.litert(level, kind), subject.inputs[INPUT])
            except (ElsaError, RuntimeError, ValueError, ImportError) as error:
                yield Absent(name, first_line(error))
                break
            difference = _difference(output, reference[level])
            yield Engine(name, subject.ladder[level], run, BASE, difference)


def open_litert(path: Path, x: Array) -> tuple[Run, Array]:
    """Return what runs a file and its output; the input is in the layout of the file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x

    def call() -> Array:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], last)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return here(call), call()
