"""TFLite models made by hand, for tests that need no converter."""

from __future__ import annotations

import numpy as np

from elsa_edge.exporters.tflite.model import TfliteModel, schema

FULLY_CONNECTED_VERSION = 1


def fully_connected(weights: list[np.ndarray], rows: int = 1) -> TfliteModel:
    """Return a chain of FULLY_CONNECTED layers with the given weights `(out, in)`, without bias, float32."""
    classes = schema()
    tree = classes.ModelT(
        version=3,
        operatorCodes=[],
        subgraphs=[],
        buffers=[classes.BufferT()],
        description="test",
        signatureDefs=[],
    )
    model = TfliteModel(tree)
    graph = classes.SubGraphT(tensors=[], operators=[], inputs=[0], outputs=[], name="main")
    tree.subgraphs.append(graph)

    def tensor(name: str, shape: tuple[int, ...], buffer: int = 0) -> int:
        graph.tensors.append(
            classes.TensorT(shape=np.array(shape, np.int32), name=name.encode(), buffer=buffer)
        )
        return len(graph.tensors) - 1

    current = tensor("x", (rows, weights[0].shape[1]))
    for number, weight in enumerate(weights):
        constant = tensor(f"weight_{number}", weight.shape, model.add_buffer(weight.astype(np.float32)))
        result = tensor(f"y_{number}", (rows, weight.shape[0]))
        graph.operators.append(
            classes.OperatorT(
                opcodeIndex=model.operator_code("FULLY_CONNECTED", FULLY_CONNECTED_VERSION),
                inputs=[current, constant, -1],
                outputs=[result],
                builtinOptionsType=classes.BuiltinOptions.FullyConnectedOptions,
                builtinOptions=classes.FullyConnectedOptionsT(),
            )
        )
        current = result
    graph.outputs = [current]
    tree.signatureDefs = [
        classes.SignatureDefT(
            inputs=[classes.TensorMapT(name=b"x", tensorIndex=0)],
            outputs=[classes.TensorMapT(name=b"y", tensorIndex=current)],
            signatureKey=b"serving_default",
            subgraphIndex=0,
        )
    ]
    return model


def sparse_weight(shape: tuple[int, ...], density: float, seed: int = 0, block: int = 1) -> np.ndarray:
    """Return a float32 weight of which a share of the 1x`block` groups along the last axis is not zero."""
    generator = np.random.default_rng(seed)
    groups = generator.random((*shape[:-1], shape[-1] // block, 1)) < density
    numbers = generator.standard_normal((*shape[:-1], shape[-1] // block, block))
    return (numbers * groups).reshape(shape).astype(np.float32)
