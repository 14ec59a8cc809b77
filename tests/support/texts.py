"""Networks that tests write as text, with the constants that the text only names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = ["with_constants"]


def with_constants(text: str, constants: Mapping[str, np.ndarray[Any, Any]]) -> ir.Model:
    """Parse a network; those of the constants that it reads become initializers."""
    model = ir.from_onnx_text(text)
    for node in model.graph:
        for value in node.inputs:
            if value is not None and value.name in constants and value.const_value is None:
                value.const_value = ir.tensor(np.asarray(constants[value.name]), name=value.name)
                model.graph.register_initializer(value)
    return model
