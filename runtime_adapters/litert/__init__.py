"""LiteRT and TFLite: opening and caching variants, engines."""
