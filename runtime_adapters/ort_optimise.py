"""Let ONNX Runtime optimise a model into files that a later session maps: run as a module in a process of its own.

    python -m runtime_adapters.ort_optimise SOURCE FOLDER SETTINGS_JSON     writes FOLDER/model.onnx and model.bin

The optimiser holds every level's weights at once; in its own process that memory goes back to the system, and a crash
or a kill there costs only the cache.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from runtime_adapters.ort_align import align_external_data

__all__ = ["DATA_NAME", "MODEL_NAME", "optimise"]

MODEL_NAME: Final = "model.onnx"
DATA_NAME: Final = "model.bin"
_SMALLEST_EXTERNAL_BYTES: Final = (
    1024  # smaller tensors stay in the model file; mapping them would save nothing
)


def optimise(source: Path, folder: Path, settings: dict[str, Any]) -> None:
    """Write the optimised model, its weights beside it, prepacked where the runtime would otherwise prepack at load.

    Args:
        source: An ONNX model.
        folder: Existing folder to write to.
        settings: `level` (a GraphOptimizationLevel's value), `prepack`, `config` (session settings), `custom_ops`
            (paths of libraries).
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel(settings["level"])
    for library in settings["custom_ops"]:
        options.register_custom_ops_library(library)
    raw_model, raw_data = folder / "raw.onnx", folder / "raw.bin"
    options.optimized_model_filepath = str(raw_model)
    prepack = bool(settings["prepack"])
    config = dict(settings["config"]) | {
        "session.optimized_model_external_initializers_file_name": raw_data.name,
        "session.optimized_model_external_initializers_min_size_in_bytes": str(_SMALLEST_EXTERNAL_BYTES),
        "session.save_external_prepacked_constant_initializers": str(int(prepack)),
        "session.disable_prepacking": str(int(not prepack)),
    }
    for key, value in config.items():
        options.add_session_config_entry(key, value)
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    if raw_data.exists():
        align_external_data(raw_model, raw_data, folder / MODEL_NAME, folder / DATA_NAME)
        raw_model.unlink()
        raw_data.unlink()
    else:  # a network of small tensors only
        raw_model.rename(folder / MODEL_NAME)


if __name__ == "__main__":
    optimise(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
