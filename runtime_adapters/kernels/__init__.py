"""Nested sparse kernels for ONNX Runtime: C++ sources, their compilation and their sanitizers."""
