"""Number types that TFLite does not compute with: the same numbers by a wider type, or a refusal before a crash."""

from __future__ import annotations

import os
import signal

import numpy as np
import onnx_ir as ir
import pytest

from elsa_edge.errors import ExportError
from elsa_edge.exporters.tflite import interpreter
from elsa_edge.exporters.tflite.compare import to_file
from elsa_edge.exporters.tflite.convert import convert
from elsa_edge.exporters.tflite.interpreter import Interpreter
from elsa_edge.exporters.tflite.prepare import prepare
from elsa_edge.running.onnx_session import open_session, options_for

# Type, the statements that make y out of x, type of y, all numbers that an 8-bit input may hold.
CASES = {
    "uint8 overflow of a sum": ("uint8", "a = Add(x, x) y = Cast<to=1>(a)", "float"),
    "uint8 below zero": ("uint8", "t = Constant<value = uint8[1] {99}>() a = Sub(x, t) y = Cast<to=1>(a)", "float"),
    "int8 overflow of a product": ("int8", "a = Mul(x, x) y = Cast<to=1>(a)", "float"),
    "int8 -128 negated": ("int8", "y = Neg(x)", "int8"),
    "uint8 quotient": ("uint8", "t = Constant<value = uint8[1] {7}>() a = Div(x, t) y = Cast<to=1>(a)", "float"),
    "uint8 maximum": ("uint8", "t = Constant<value = uint8[1] {9}>() y = Max(x, t)", "uint8"),
    "int8 comparison": ("int8", "t = Constant<value = int8[1] {-9}>() y = Greater(x, t)", "bool"),
    "float16": ("float16", "a = Add(x, x) y = Cast<to=1>(a)", "float"),
    "float64": ("double", "y = Tanh(x)", "double"),
    "bool": ("bool", "y = Not(x)", "bool"),
}  # fmt: skip
NUMPY = {"float": "float32", "double": "float64"}


def _numbers(kind: str) -> np.ndarray:
    dtype = np.dtype(NUMPY.get(kind, kind))
    if dtype.kind in "iu":
        return np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype).reshape(1, -1)
    return (np.arange(-128, 128) % 2 if dtype.kind == "b" else np.arange(-128, 128) / 64).astype(dtype)[None]


@pytest.mark.parametrize(("kind", "body", "result"), CASES.values(), ids=CASES)
def test_numbers_are_those_of_onnx_runtime(kind: str, body: str, result: str) -> None:
    """Every 8-bit number comes out as ONNX Runtime has it, overflow included; floats to float32's precision."""
    text = (
        f'<ir_version: 10, opset_import: ["" : 20]> g ({kind}[1,256] x) => ({result}[1,256] y) {{ {body} }}'
    )
    numbers = _numbers(kind)
    model = ir.from_onnx_text(text)
    session = open_session(ir.to_proto(model).SerializeToString(), options_for())
    expected = session.run(None, {"x": numbers})[0]
    prepared = prepare(model, {"x": (1, 256)})
    found = Interpreter(convert(prepared).model.to_bytes()).run(to_file(prepared, {"x": numbers}))["y"]
    np.testing.assert_allclose(found.astype(expected.dtype), expected, rtol=1e-5)


def test_shifts_of_narrow_integers_are_refused_by_name() -> None:
    """They have no wider form that drops the same bits."""
    text = """<ir_version: 10, opset_import: ["" : 20]> g (uint8[1,4] x) => (uint8[1,4] y) {
        t = Constant<value = uint8[1] {2}>() y = BitShift<direction = "LEFT">(x, t) }"""
    with pytest.raises(ExportError, match="The operator BitShift has no TFLite form"):
        prepare(ir.from_onnx_text(text), {"x": (1, 4)})


def test_a_file_that_ends_the_runtime_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the build never opens it."""
    monkeypatch.setattr(interpreter._helper, "ask", lambda _: {"ended": "ended with signal 6"})
    with pytest.raises(
        ExportError, match=r"ended with signal 6 when the converted file was opened.*ort-switch"
    ):
        Interpreter(b"a file")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_process_apart_is_the_one_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime that aborts takes the fork with it, and nothing else."""
    from elsa_edge.running.apart import answer_from_fork

    monkeypatch.setattr(interpreter, "Interpreter", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    question = {"path": __file__, "keep_all": False, "threads": 1}
    assert answer_from_fork(interpreter._open_and_run, question) == {"ended": "ended with signal 9"}
