"""Models of ARM cores, labelled as models: nothing here was measured on a board.

    loops        cycles a product of our inner loops, modelled
    inferences   instructions of whole inferences, ours and others', counted under emulation
    masks        loads that rows of real masks could share
    cores        what a core issues a cycle, and what LLVM's machine-code analyser says of a stretch of instructions
    code         instructions of a compiled file, and the innermost loops among them
    emulate      the emulated board with its plugin blocks.c; guest.py runs there

A model takes everything to be in the first-level cache and every branch to be guessed right. It ranks two loops of the
same layer; as a latency it is off by 30 % and more.
"""
