"""Variants for ONNX Runtime made of its own operators."""
