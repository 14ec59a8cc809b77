"""ONNX Runtime: opening and caching variants, sessions with levels."""
