"""How accurate is each level, on labelled data: for a nested checkpoint, a canonical graph or a bundle.

    data.py      what of an .npz are inputs and what are labels, and in which pieces they are run
    metrics.py   outputs and labels -> evidence a sample -> a figure with its interval
    answers.py   what runs a level: torch, ONNX Runtime on the canonical graph, a variant of a bundle
    writing.py   the figures into the ladder of what was measured

A bundle needs numpy and its runtime alone, so that a device can measure its own accuracy.
"""
