"""Networks of the zoo, the whole way, in the zoo's environment: `python -m benchmarks.zoo.worker [--quick] NAME ...`.

With --quick only the canonical graph and the variant `ort-levels` are compared, and nothing is timed; with --static the
batch is fixed at 1, which torch traces in a third of the time. With --share only the nested share is found. With
[--static] --graph=FOLDER [--levels=0.9,0] only FOLDER/NAME.onnx is written, cut in 4x4 blocks.

Prints one JSON line for each: what was reached, seconds and peak memory of each step, the share that is nested, and
how far every level of the graph and of each variant is from torch with weights that are masked here, by other code.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.zoo.networks import NETWORKS, Network
from elsa_edge.errors import DeadLevelError, ElsaError

__all__ = ["heavy_tails", "main"]

LEVELS: Final = (0.95, 0.8, 0.0)
DEVICE: Final = "generic-x86-64"
_ROUNDS: Final = 11
_SAMPLES: Final = 8
# Weights of fewer numbers have fewer than 256 blocks of 4x4.
_NARROW: Final = 4096

Array = npt.NDArray[Any]
Row = dict[str, Any]


@contextmanager
def _step(row: Row, name: str) -> Iterator[None]:
    """Note seconds and the peak of memory so far, also when the step fails."""
    began = time.monotonic()
    row["step"] = name
    try:
        yield
    finally:
        row[f"{name}_s"] = round(time.monotonic() - began, 1)
        row[f"{name}_peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def heavy_tails(model: Any, seed: int = 0) -> None:
    """Give the weights heavy tails, so that levels differ as those of trained networks do."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                if not parameter.any():
                    # Some heads start at zero: every input would get the same answer.
                    parameter.normal_(std=0.02, generator=generator)
                parameter.mul_(torch.exp(0.7 * torch.randn(parameter.shape, generator=generator)))


def _way(name: str, network: Network, folder: Path, *, quick: bool, static: bool) -> Row:
    import torch

    from elsa_edge.build import build_bundle
    from elsa_edge.graph.attempts import runnable_example
    from elsa_edge.graph.binding import bind_inputs
    from elsa_edge.graph.export import export_canonical
    from elsa_edge.sparsify import sparsify
    from elsa_edge.tensors import parse_inputs

    torch.manual_seed(0)
    torch.set_num_threads(1)
    row: Row = {"network": name}
    try:
        with _step(row, "make"):
            model = network.make().eval()
            heavy_tails(model)
            inputs = parse_inputs(network.inputs)
            binding = bind_inputs(model, inputs)
            example = runnable_example(model, binding)
        row["parameters"] = sum(p.numel() for p in model.parameters())
        with _step(row, "sparsify"):
            nested = sparsify(
                model, LEVELS, data=[_samples(example)] if _has_norms(model) else None, example=example
            )
            nested.save(folder / "nested.safetensors")
        row |= _share(nested.provenance["coverage"])
        with _step(row, "export"):
            graph = export_canonical(
                nested, model, inputs, outputs=network.outputs, batch=1 if static else None
            )
            graph.save(folder / "model.onnx")
        row["batch"] = graph.provenance["export"]["batch"]
        row["notes"] = graph.provenance["export"]["notes"]
        # What the contract allows at each level: a network that float32 computes badly is allowed more.
        row["allowed"] = [
            max(graph.tolerance(name, level).limit(1.0) for name in graph.outputs)
            for level in range(len(LEVELS))
        ]
        expected = _torchs(folder / "nested.safetensors", model, example, network.outputs, binding)
        row["graph_difference"] = _worst(expected, _graphs(folder / "model.onnx", example))
        with _step(row, "build"):
            # It applies to every network; ort-switch takes more memory than the device has for large ones.
            chosen = ["ort-levels"] if quick else None
            bundle = build_bundle(folder / "model.onnx", DEVICE, folder / "bundle", variants=chosen)
        row["variants"] = _variants(bundle, example, expected)
        row["speed"] = None if quick else _speed(folder, bundle, example)
        row["reached"] = "all"
    except ElsaError as error:
        row["reached"], row["refusal"] = row["step"], str(error)
    except Exception as error:  # noqa: BLE001 - a crash of ours or of the network's code is a result, too
        row["reached"], row["crash"] = row["step"], f"{type(error).__name__}: {str(error)[:400]}"
    return row


def _has_norms(model: Any) -> bool:
    return any("BatchNorm" in type(module).__name__ for module in model.modules())


def _share(covered: Mapping[str, Any]) -> Row:
    """Return the nested share: of products with weights, but for depthwise convolutions, which stay dense."""
    apart = ("depthwise_multiply_adds", "activation_multiply_adds")
    rest = 1.0 - sum(covered[key] or 0.0 for key in apart)
    return {
        "nested_parameters": covered["parameters"],
        "depthwise_multiply_adds": covered["depthwise_multiply_adds"],
        "nested_multiply_adds": covered["multiply_adds"] and covered["multiply_adds"] / rest,
        "activation_multiply_adds": covered["activation_multiply_adds"],
        "stays_dense": covered["dense"],
    }


def _share_alone(name: str, network: Network) -> Row:
    """Cut a network and return its nested share, without taking it any further."""
    import torch

    from elsa_edge.graph.attempts import runnable_example
    from elsa_edge.graph.binding import bind_inputs
    from elsa_edge.sparsify import sparsify
    from elsa_edge.tensors import parse_inputs

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = network.make().eval()
    heavy_tails(model)
    example = runnable_example(model, bind_inputs(model, parse_inputs(network.inputs)))
    # Without data, which takes longest and changes no share.
    nested = sparsify(model, LEVELS, example=example)
    return {"network": name, **_share(nested.provenance["coverage"])}


def _graph_alone(name: str, network: Network, folder: Path, levels: list[float], *, static: bool) -> Row:
    """Write the canonical graph of a network that is cut in 4x4 blocks, alike in every layer.

    Blocks of made-up weights are kept at random. Where narrow layers lose every path through them, other weights are
    tried, and then these layers stay dense.
    """
    import torch

    from elsa_edge.graph.export import export_canonical
    from elsa_edge.tensors import parse_inputs

    torch.set_num_threads(1)
    for seed, with_narrow in enumerate((True, True, False)):
        torch.manual_seed(seed)
        model = network.make().eval()
        heavy_tails(model, seed)
        exclude = () if with_narrow else _narrow(model)
        try:
            nested = _cut(model, network, levels, exclude)
        except DeadLevelError:
            if not with_narrow:
                raise
            continue
        break
    batch = 1 if static else None
    graph = export_canonical(
        nested, model, parse_inputs(network.inputs), outputs=network.outputs, batch=batch
    )
    graph.save(folder / f"{name}.onnx")
    return {"network": name, "narrow_dense": len(exclude)}


def _narrow(model: Any) -> tuple[str, ...]:
    """Return the names of small weights; depthwise ones stay dense anyway."""
    return tuple(
        name for name, p in model.named_parameters() if p.ndim > 1 and p.shape[1] > 1 and p.numel() < _NARROW
    )


def _cut(model: Any, network: Network, levels: list[float], exclude: tuple[str, ...]) -> Any:
    """Return the levels of a network in 4x4 blocks.

    Raises:
        DeadLevelError: When a level does not follow its inputs.
    """
    from elsa_edge.graph.attempts import runnable_example
    from elsa_edge.graph.binding import bind_inputs
    from elsa_edge.sparsify import sparsify
    from elsa_edge.tensors import parse_inputs

    example = runnable_example(model, bind_inputs(model, parse_inputs(network.inputs)))
    return sparsify(
        model,
        levels,
        granularity="4x4",
        allocation="uniform",
        data=[_samples(example)] if _has_norms(model) else None,
        example=example,
        exclude=exclude,
        provenance={"narrow_dense": len(exclude)},
    )


def _samples(example: Mapping[str, Array]) -> dict[str, Array]:
    """Return inputs for BatchNorm: few samples leave variances near zero on maps of one place, and answers of 1e11."""
    random = np.random.default_rng(1)
    return {
        name: random.standard_normal((_SAMPLES, *array.shape[1:])).astype(array.dtype)
        for name, array in example.items()
    }


def _torchs(
    path: Path, model: Any, example: Mapping[str, Array], wanted: tuple[str, ...], binding: Any
) -> list[list[Array]]:
    """Return torch's outputs at every level, with masks made here from the file's raw tensors."""
    import torch
    from safetensors.numpy import load_file

    from elsa_edge.graph.outputs import answering

    raw = load_file(path)
    plain = {n: a for n, a in raw.items() if not n.endswith((".level_index", ".levels"))}
    answers = []
    arguments, keywords = binding.arguments(example)
    metadata = getattr(model.state_dict(), "_metadata", {})
    with torch.no_grad(), answering(model, arguments, keywords, wanted):
        for level in range(len(LEVELS)):
            state = {
                name: raw[f"{name}.levels"][level]
                if f"{name}.levels" in raw
                else array * (raw[f"{name}.level_index"] <= level).astype(array.dtype)
                if f"{name}.level_index" in raw
                else array
                for name, array in plain.items()
            }
            tensors = OrderedDict((name, torch.from_numpy(np.array(array))) for name, array in state.items())
            tensors._metadata = metadata  # type: ignore[attr-defined]  # noqa: SLF001 - MNASNet asks for its version
            model.load_state_dict(tensors)
            named = {name: torch.from_numpy(np.array(array)) for name, array in example.items()}
            answers.append([tensor.numpy() for tensor in model(**named)])
    return answers


def _graphs(path: Path, example: Mapping[str, Array]) -> list[list[Array]]:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [
        session.run(None, {**example, "level": np.array(level, np.int64)}) for level in range(len(LEVELS))
    ]


def _worst(expected: list[list[Array]], found: list[list[Array]]) -> list[float]:
    """Return for each level the largest difference of any output over that output's largest number."""
    return [
        max(
            float(np.abs(f.astype(np.float64) - e).max() / max(np.abs(e).max(), 1e-30)) if e.size else 0.0
            for e, f in zip(want, got, strict=True)
        )
        for want, got in zip(expected, found, strict=True)
    ]


def _variants(
    bundle: Any, example: Mapping[str, Array], expected: list[list[Array]]
) -> dict[str, list[float]]:
    from elsa_edge.loading import open_adapter, resolve_profile

    profile = resolve_profile(bundle, None)
    found = {}
    for variant in bundle.manifest.variants:
        opened = open_adapter(bundle, variant, profile, None)
        answers = [list(opened.run(example, level).values()) for level in range(len(LEVELS))]
        opened.close()
        found[variant.name] = _worst(expected, answers)
    return found


def _speed(folder: Path, bundle: Any, example: Mapping[str, Array]) -> Row:
    """Time each level of the first variant beside a plain dense session, in turns, on one thread."""
    import onnx_ir as ir
    import onnxruntime as ort

    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.graph.fixed import at_level
    from elsa_edge.loading import open_adapter, resolve_profile

    dense = at_level(CanonicalGraph.load(folder / "model.onnx"), len(LEVELS) - 1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        ir.to_proto(dense).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    profile = resolve_profile(bundle, None)
    profile = profile.model_copy(update={"runtime": profile.runtime.model_copy(update={"threads": 1})})
    variant = bundle.manifest.variants[0]
    opened = open_adapter(bundle, variant, profile, None)
    times: dict[str, list[float]] = {"dense": [], **{str(level): [] for level in range(len(LEVELS))}}
    for turn in range(_ROUNDS + 2):
        for key, kept in times.items():
            runs = []
            for _ in range(2):  # the first after a switch does not count
                began = time.thread_time()
                session.run(None, dict(example)) if key == "dense" else opened.run(example, int(key))
                runs.append((time.thread_time() - began) * 1e3)
            if turn > 1:
                kept.append(runs[-1])
    opened.close()
    medians = {key: float(np.median(values)) for key, values in times.items()}
    return {
        "variant": variant.name,
        "dense_ms": round(medians["dense"], 3),
        "speedup": [round(medians["dense"] / medians[str(level)], 2) for level in range(len(LEVELS))],
    }


def main() -> None:
    """Run the networks that the command line names."""
    quick, static, share = ("--" + word in sys.argv for word in ("quick", "static", "share"))
    given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:] if "=" in word)
    for name in sys.argv[1:]:
        if name.startswith("--"):
            continue
        if "graph" in given:
            levels = [float(level) for level in given.get("levels", "0.9,0").split(",")]
            row = _graph_alone(name, NETWORKS[name], Path(given["graph"]), levels, static=static)
            print(json.dumps(row), flush=True)
        elif share:
            print(json.dumps(_share_alone(name, NETWORKS[name])), flush=True)
        else:
            with tempfile.TemporaryDirectory(prefix="elsa-zoo-") as folder:
                row = _way(name, NETWORKS[name], Path(folder), quick=quick, static=static)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
