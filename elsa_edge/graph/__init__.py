"""Graphs: from a torch network to the canonical graph, and the passes that rewrite it for a level."""
