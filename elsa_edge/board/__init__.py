"""The comparison that owners of boards make: our kernels, ONNX Runtime, LiteRT and ncnn, into one file to contribute.

kit          the networks, as bundles; the wheel carries a small one
rows         what is compared with what (pure)
timing       two engines in turns, in a process of its own, so that a crash costs one row
sustained    minutes of work: heat, clock, throttling
conditions   what the board is, and what makes figures doubtful
suite        all of it
"""

from elsa_edge.board.suite import FORMAT, Suite, run_suite

__all__ = ["FORMAT", "Suite", "run_suite"]
