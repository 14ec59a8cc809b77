"""Keep what tools for ONNX graphs say to their developers off the screen of whoever exports."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

__all__ = ["silent"]


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Run passes without their warnings and log: what they leave alone, and why, is no news to a user."""
    loggers = [logging.getLogger(name) for name in ("onnx_ir", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
