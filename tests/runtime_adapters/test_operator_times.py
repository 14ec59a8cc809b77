"""What ONNX Runtime's profiler writes, read back run by run."""

from __future__ import annotations

import json

import pytest

from elsa_edge.errors import InferenceError
from elsa_edge.runtime_adapters.ort.operator_times import PREFIX, read_operator_times


def event(name, kind, us, cat="Node"):
    return {"cat": cat, "name": name, "dur": us, "ts": 0, "args": {"op_name": kind}}


def test_runs_are_told_apart_and_holders_left_out(tmp_path):
    run = [
        event("0/relu_kernel_time", "Conv", 31),
        event("levels_kernel_time", "If", 40),
        event("model_run", "", 45, "Session"),
    ]
    loading = event("session_initialization", "", 9000, "Session")
    (tmp_path / f"{PREFIX}_now.json").write_text(json.dumps([loading, *run, *run]))
    runs = read_operator_times(tmp_path)
    assert [[(one.name, one.kind, one.took_ms) for one in run] for run in runs] == [
        [("0/relu", "Conv", 0.031)]
    ] * 2


@pytest.mark.parametrize("text", [None, "[", "[1]", "{}", '[{"cat": "Node", "name": "a_kernel_time"}]', "[]"])
def test_what_cannot_be_read_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / f"{PREFIX}.json").write_text(text)
    with pytest.raises(InferenceError, match="profiler wrote"):
        read_operator_times(tmp_path)
