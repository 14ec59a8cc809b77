"""Sparse kernels of our own inside ONNX Runtime. Its files in the order of the work:

find     the layers that the kernels can compute: `networks` compares levels, `follow` takes what comes after a sum
stored   how a weight is stored: float32, float16 or 8-bit codes
store    their weights as segments, one per level; with the layers they are a `LayerSet`
lay_out  which values travel as planes
price    what a `KernelChoice` costs by a model of the processor
choose   the `Verdict` for each level, timed where the device is of this machine's kind
branch   the network of some levels with a choice of kernels
file     all branches and weights as one graph and one data file; `write` does both for a whole ladder
"""
