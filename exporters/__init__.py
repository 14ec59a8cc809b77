"""Exporters: (canonical graph, device profile) -> variant. One a file; found through entry points."""
