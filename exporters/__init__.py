"""Exporters: (canonical graph, device profile) -> variant. A folder per runtime; found through entry points."""
