"""Variants in 8 bits: nested kernels of our own, and ONNX Runtime's dense ones as their rival."""
