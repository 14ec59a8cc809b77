"""LiteRT for tests on a JVM, where its Java library does not run: answers on stdin and stdout what the test asks.

    O SIZE BYTES                                     open a model
    R SIGNATURE COUNT {NAME SIZE BYTES} COUNT {NAME}   run it; an empty signature is the only one; answers {SIZE BYTES}

Numbers are 4 bytes, big-endian; texts are UTF-8 with their size before them.
"""

from __future__ import annotations

import struct
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

source, sink = sys.stdin.buffer, sys.stdout.buffer


def number() -> int:
    """Read a number; end with the test."""
    data = source.read(4)
    if len(data) < 4:
        sys.exit(0)
    return int(struct.unpack(">i", data)[0])


def block() -> bytes:
    """Read bytes with their size before them."""
    return source.read(number())


while (command := source.read(1)) != b"":
    if command == b"O":
        model = block()
        interpreter = Interpreter(model_content=model, num_threads=1)
        continue
    name = block().decode()
    runner = interpreter.get_signature_runner(name or None)
    details = runner.get_input_details()
    feed = {}
    for _ in range(number()):
        key = block().decode()
        feed[key] = np.frombuffer(block(), details[key]["dtype"]).reshape(details[key]["shape"])
    wanted = [block().decode() for _ in range(number())]
    answers = runner(**feed)
    for key in wanted:
        data = np.ascontiguousarray(answers[key]).tobytes()
        sink.write(struct.pack(">i", len(data)) + data)
    sink.flush()
