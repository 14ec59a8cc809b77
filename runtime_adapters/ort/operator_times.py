"""Read what ONNX Runtime's own profiler writes when a session closes: events in Chrome's trace format, times in us.

one operator     {"cat": "Node", "name": "0/relu_kernel_time", "dur": 31, "args": {"op_name": "Conv", ...}}
ends one run     {"cat": "Session", "name": "model_run", ...}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from elsa_edge.errors import InferenceError
from elsa_edge.plugins import OperatorTime

__all__ = ["PREFIX", "read_operator_times"]

PREFIX: Final = "profile"
_SUFFIX: Final = "_kernel_time"
_HOLDERS: Final = frozenset({"If", "Loop", "Scan"})


def read_operator_times(folder: Path) -> list[list[OperatorTime]]:
    """Return the operators of each run in order, of the one file of a profiler that lies in a folder.

    Raises:
        InferenceError: When there is none, or it is not what ONNX Runtime writes.
    """
    import json  # not at every start of an application: a json.py beside its script would come in its place

    files = sorted(folder.glob(f"{PREFIX}*.json"))
    try:
        events: list[dict[str, Any]] = [event for path in files for event in json.loads(path.read_bytes())]
        runs: list[list[OperatorTime]] = []
        run: list[OperatorTime] = []
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
                kind = str(event["args"]["op_name"])
                if kind not in _HOLDERS:
                    run.append(OperatorTime(event["name"].removesuffix(_SUFFIX), kind, event["dur"] / 1e3))
            elif event.get("cat") == "Session" and event["name"] == "model_run":
                runs.append(run)
                run = []
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InferenceError(f"What ONNX Runtime's profiler wrote cannot be read ({error})") from error
    if not runs:
        raise InferenceError("ONNX Runtime's profiler wrote no run")
    return runs
