"""Let ONNX Runtime optimise a model into files that a later session maps: run as a module in a process of its own.

    python -m elsa_edge.runtime_adapters.ort.optimise SOURCE FOLDER SETTINGS_JSON

writes FOLDER/model.onnx and FOLDER/model.bin.

The optimiser holds every level's weights at once; in its own process that memory goes back to the system, and a crash
or a kill there costs only the cache.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic_core import from_json

from elsa_edge.proof.tolerance import Tolerance
from elsa_edge.running.onnx_session import Settings, open_session, options_for
from elsa_edge.runtime_adapters.ort.align import align_external_data
from elsa_edge.tensors import largest_difference

__all__ = ["DATA_NAME", "MODEL_NAME", "optimise"]

MODEL_NAME: Final = "model.onnx"
DATA_NAME: Final = "model.bin"
_MOST_LEVELS: Final = 255
# Of each output by itself. The same operators in the same order on both sides: there is no noise of the network to
# forgive, and a refusal costs only the cache.
_TOLERANCE: Final = Tolerance()
_SMALLEST_EXTERNAL_BYTES: Final = (
    1024  # smaller tensors stay in the model file; mapping them would save nothing
)


def optimise(source: Path, folder: Path, settings: Settings) -> None:
    """Write the optimised model, its weights beside it, prepacked where the runtime would otherwise prepack at load.

    Args:
        source: An ONNX model.
        folder: Existing folder to write to.
        settings: How the written model will be opened.
    """
    options = options_for(settings)
    raw_model, raw_data = folder / "raw.onnx", folder / "raw.bin"
    options.optimized_model_filepath = str(raw_model)
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", raw_data.name),
        ("session.optimized_model_external_initializers_min_size_in_bytes", str(_SMALLEST_EXTERNAL_BYTES)),
        ("session.save_external_prepacked_constant_initializers", str(int(settings.prepack))),
    ):
        options.add_session_config_entry(key, value)
    session = open_session(source, options)
    if raw_data.exists():
        align_external_data(raw_model, raw_data, folder / MODEL_NAME, folder / DATA_NAME)
        raw_model.unlink()
        raw_data.unlink()
    else:  # a network of small tensors only
        raw_model.rename(folder / MODEL_NAME)
    _prove(session, folder / MODEL_NAME)


def _prove(original: Any, model: Path) -> None:
    """Run the written model at every level and compare it with the session that it was written from.

    What would crash crashes here, in the optimiser's process, and costs only the cache. A network that does not run on
    made-up inputs (sizes that depend on each other) is left unproved.

    Raises:
        RuntimeError: When the outputs differ.
    """
    written = open_session(model, options_for(Settings(optimization="none")))
    feed = _made_up(original)
    for level in range(_MOST_LEVELS):
        feed["level"] = np.array(level, np.int64)
        try:
            expected = original.run(None, feed)
        except Exception:  # noqa: BLE001 - the level is out of range, or the inputs do not fit
            return
        for wanted, found in zip(expected, written.run(None, feed), strict=True):
            if not _TOLERANCE.allows(*largest_difference(found, wanted)):
                message = f"the optimised model gives other numbers at level {level}"
                raise RuntimeError(message)


def _made_up(session: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return an input of one sample for each input: normal floats, zeros for whole numbers."""
    generator = np.random.default_rng(0)
    made: dict[str, np.ndarray[Any, Any]] = {}
    for entry in session.get_inputs():
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in entry.shape]
        dtype = {"float": np.float32, "float16": np.float16, "double": np.float64}.get(entry.type[7:-1])
        if dtype is not None:
            made[entry.name] = generator.standard_normal(shape).astype(dtype)
        else:
            made[entry.name] = np.zeros(shape, entry.type[7:-1])
    return made


if __name__ == "__main__":
    optimise(Path(sys.argv[1]), Path(sys.argv[2]), Settings(**from_json(sys.argv[3])))
