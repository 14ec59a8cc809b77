"""`nested-int8` and `ort-int8`: whole networks in 8 bits answer nearly as the float network, at every level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from support.eight_bits import TOLERANT, profile, samples
from support.opening import open_variant
from torch import nn

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.writer import write_bundle
from elsa_edge.errors import BundleError, ExportError, InputError
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter, OrtInt8Exporter
from elsa_edge.exporters.int8.judge import Judgement, judge, open_session
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.exporters.nested.find import level_models
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.graph.class_axis import class_axes
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.nested_format.operators import DOMAIN
from elsa_edge.onnx_levels import nest_onnx
from elsa_edge.profiles import load_profile
from elsa_edge.quantise.samples import inferences
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec
from elsa_edge.verify import verify_bundle


def answers_nearly_alike(graph, exporter, folder):
    variant = exporter.export(graph, TOLERANT, Golden(samples(graph), ()), folder)
    assert {path.name for path in folder.iterdir()} == set(variant.files.values())
    opened = open_variant(folder, variant, TOLERANT.runtime, level_count=len(graph.ladder))
    other = samples(graph, count=3, seed=2)
    for level, expected in enumerate(run_canonical(graph, other)):
        found = opened.run(other, level)
        for name, value in expected.items():
            assert found[name].shape == value.shape
            assert np.abs(found[name] - value).max() <= 0.25 * np.abs(value).max()
    opened.close()


def test_every_network_of_the_zoo(any_graph, tmp_path):
    """Convolutions of all kinds, recurrent cells, attention, several inputs: what has no 8-bit kernel stays float."""
    answers_nearly_alike(any_graph, NestedInt8Exporter("nested"), tmp_path)


def test_the_rival_does_grouped_transposed_convolutions(canonical, tmp_path):
    """ONNX Runtime's quantiser stumbles over them by channel; by tensor it does them."""
    answers_nearly_alike(canonical("conv"), OrtInt8Exporter(), tmp_path)


def test_a_network_stays_in_codes_from_its_input_to_its_mean(small, tmp_path):
    """Only the input is converted; all convolutions, the maximum, residuals and the mean are 8-bit operators."""
    variant = NestedInt8Exporter("nested").export(small, TOLERANT, Golden(samples(small), ()), tmp_path)
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    operators = [node.op_type for node in model.graph.node if node.domain == DOMAIN]
    assert operators.count("Int8FromImage") == 1
    assert operators.count("Int8Conv") == 8
    assert (
        operators.count("Int8Depthwise") == operators.count("Int8MaxPool") == operators.count("Int8Mean") == 1
    )
    assert operators[-2:] == ["Int8MatMul", "Int8MatMulFloat"]
    assert not {"ImageFromInt8"} & set(operators)
    assert not {node.op_type for node in model.graph.node} & {"Conv", "Add", "MaxPool", "Relu", "If"}
    assert len(variant.instructions.nested_layers[0]) == 11
    assert variant.notes["float_layers"] == {}
    assert variant.notes["int8_weights"] == variant.notes["int8_multiply_adds"] == [1.0] * 3
    assert list(variant.level_bytes) == sorted(variant.level_bytes)


class Swishing(nn.Module):
    """HardSwish behind a residual, SiLU behind a depthwise convolution, as in MobileNetV3 and EfficientNet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.same = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 12, 3, padding=1)
        self.depthwise, self.last = nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 20, 1)
        self.head = nn.Linear(20, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.hardswish(self.stem(x))
        x = nn.functional.hardswish(self.same(x) + x)
        x = nn.functional.silu(self.depthwise(x))
        return self.head(self.last(x).mean((2, 3)))


def test_hard_swish_and_silu_stay_in_codes(tmp_path):
    """They are part of their convolutions: nothing is converted between the input and the mean."""
    model = Swishing().eval()
    graph = export_canonical(
        sparsify(model, [0.6, 0.0], granularity="1x4"), model, [TensorSpec("x", (1, 3, 20, 20))]
    )
    variant = NestedInt8Exporter("nested").export(
        graph, profile(int8_changed_answers=0.3), Golden(samples(graph), ()), tmp_path
    )
    nodes = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.node
    operators = [node.op_type for node in nodes if node.domain == DOMAIN]
    assert operators.count("Int8Conv") == 3
    assert operators.count("Int8FromImage") == operators.count("Int8Depthwise") == 1
    assert not {node.op_type for node in nodes} & {"HardSwish", "Sigmoid", "HardSigmoid", "Mul", "Add"}
    assert variant.notes["float_layers"] == {}
    assert max(variant.notes["difference"]) < 0.1


def timed(monkeypatch, *ratios, again=(), short=True):
    """Let a build measure these times over the dense 8-bit network: of each level alone, then in the finished file."""
    told = iter(ratios)
    monkeypatch.setattr(Stopwatch, "over_first", lambda *_: [next(told)])
    later = iter(again or ratios)
    monkeypatch.setattr(Stopwatch, "over_plain", lambda *_: next(later))
    monkeypatch.setattr(Stopwatch, "is_short", lambda *_: short)


@pytest.mark.parametrize(
    ("ratios", "again"),
    [((0.99, 1.2, 1.3), ()), ((0.971, 0.972, 0.973), ()), ((0.9, 1.2, 1.3), (0.971, 1.0, 1.0))],
)
def test_what_is_slower_than_dense_int8_is_not_built(small, tmp_path, monkeypatch, ratios, again):
    """No level is faster, alone or in the finished file: refused, with figures that differ from the limit."""
    timed(monkeypatch, *ratios, again=again)
    worst = (*again[:1], *ratios[1:]) if again else ratios
    with pytest.raises(ExportError, match=rf"{', '.join(f'{r:.3f}' for r in worst)} of it.*ort-int8 is"):
        NestedInt8Exporter().export(small, TOLERANT, Golden(samples(small), ()), tmp_path)


def test_a_level_that_is_not_faster_in_the_finished_file_becomes_dense(small, tmp_path, monkeypatch):
    """Alone it was; then the file is written and timed again, and the notes have what counts."""
    timed(monkeypatch, 0.4, 0.9, 3.0, again=(0.5, 0.98, 1.0, 0.5, 1.0, 1.0))
    notes = NestedInt8Exporter().export(small, TOLERANT, Golden(samples(small), ()), tmp_path).notes
    assert notes["kernels"] == ["nested", "dense", "dense"]
    assert notes["time_over_dense_int8"] == [0.4, 0.98, 3.0]
    assert notes["time_in_the_file_over_dense_int8"] == (0.5, 1.0, 1.0)
    assert notes["plain_levels"] == []


def test_dense_levels_of_a_small_network_get_files_of_their_own(small, tmp_path, monkeypatch):
    """Where choosing a level costs more than 3 %; the adapter runs them, and they are what the file has there."""
    timed(monkeypatch, 0.4, 0.98, 3.0, again=(0.5, 1.05, 1.04))
    variant = NestedInt8Exporter().export(small, TOLERANT, Golden(samples(small), ()), tmp_path)
    assert variant.notes["plain_levels"] == [1, 2]
    assert variant.files.keys() == {"model", "data", "level_plain_1", "level_plain_2"}
    whole = variant.model_copy(update={"files": {r: variant.files[r] for r in ("model", "data")}})
    found = [open_variant(tmp_path, one, TOLERANT.runtime, level_count=3) for one in (variant, whole)]
    names = [node.op_type for node in onnx.load(tmp_path / "level_plain_2.onnx").graph.node]
    assert "If" not in names
    for level in range(3):
        answers = [opened.run(samples(small, count=2), level) for opened in found]
        for name, value in answers[0].items():
            assert np.array_equal(value, answers[1][name])
    assert found[0].memory().base_bytes > found[1].memory().base_bytes
    for opened in found:
        opened.close()
    text = '<ir_version: 10, opset_import: ["" : 20]> g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "level_plain_2.onnx")
    with pytest.raises(BundleError, match="plain network of level 2 has other inputs"):
        open_variant(tmp_path, variant, TOLERANT.runtime, level_count=3)


def test_longer_networks_keep_their_weights_once(small, tmp_path, monkeypatch):
    """Where looking up a level cannot matter, a slower densest level is where memory happens to lie."""
    timed(monkeypatch, 0.4, 0.98, 3.0, again=(0.5, 1.05, 1.04), short=False)
    variant = NestedInt8Exporter().export(small, TOLERANT, Golden(samples(small), ()), tmp_path)
    assert variant.files.keys() == {"model", "data"}


@pytest.mark.parametrize(("ratio", "plain"), [(1.02, 0), (1.2, 3)])
def test_the_rival_of_a_small_network_has_a_plain_file_a_level(small, tmp_path, monkeypatch, ratio, plain):
    """Where choosing a level costs it more than 3 %; the answers are the same."""
    timed(monkeypatch, again=[ratio])
    variant = OrtInt8Exporter().export(small, TOLERANT, Golden(samples(small), ()), tmp_path)
    assert variant.notes["plain_levels"] == list(range(plain))
    whole = variant.model_copy(update={"files": {"model": "model.onnx"}})
    found = [open_variant(tmp_path, one, TOLERANT.runtime, level_count=3) for one in (variant, whole)]
    for level in range(3):
        answers = [opened.run(samples(small, count=2), level) for opened in found]
        assert all(np.array_equal(value, answers[1][name]) for name, value in answers[0].items())
    for opened in found:
        opened.close()


def test_a_bundle_is_verified_at_every_level(small, tmp_path, monkeypatch):
    """Nested, dense and mixed: the declared tolerance and agreement hold for the golden inputs, and are checked."""
    timed(
        monkeypatch, 0.5, 0.9, 1.5, again=(0.5, 0.9, 1.0, 1.0)
    )  # a busy machine must not decide what this test is about
    feed = samples(small)
    golden = Golden(feed, run_canonical(small, feed))
    with write_bundle(tmp_path / "bundle") as writer:
        for exporter in (NestedInt8Exporter("auto"), OrtInt8Exporter()):
            writer.add_variant(exporter.export(small, TOLERANT, golden, writer.variant_folder(exporter.name)))
        writer.seal(
            name="small",
            device="generic-x86-64",
            ladder=small.ladder,
            inputs=small.inputs,
            outputs=small.outputs,
            golden=golden,
            versions={},
            provenance={},
        )
        ours = writer.variants[0].notes
    assert ours["decided_by"] == ["timing"] * 3
    told = zip(ours["faster_than_dense_int8"], ours["time_over_dense_int8"], ours["kernels"], strict=True)
    assert all(faster == (time <= 0.97) == (kind == "nested") for faster, time, kind in told)
    assert all(0 <= difference < 0.25 for difference in ours["difference"])
    result = verify_bundle(tmp_path / "bundle")
    assert result.ok
    assert [variant.name for variant in result.variants] == ["nested-int8", "ort-int8"]
    assert all(variant.notes["int8_multiply_adds"] == [1.0] * 3 for variant in writer.variants)
    assert all(
        level.agreement is not None and level.agreement >= 0.6 for v in result.variants for level in v.levels
    )


def test_changed_answers_are_refused_with_figures(small, tmp_path, monkeypatch):
    """A level whose answers changed too often is an error that names the level, the share and what to do."""
    from elsa_edge.exporters.int8 import exporter as module

    monkeypatch.setattr(module, "judge", lambda *_: [Judgement(0.01, share) for share in (1.0, 0.5, 1.0)])
    with pytest.raises(ExportError, match=r"answers of level 1.*50\.0%.*Calibrate with more"):
        NestedInt8Exporter("nested").export(small, profile(), Golden(samples(small), ()), tmp_path)


def test_answers_are_looked_for_along_the_classes(tmp_path):
    """A map of one channel has none, however its rows are ordered; one of three has them in its channels."""
    for channels, answers in ((1, 0), (3, 12 * 12)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, channels, 1)).eval()
        nested = sparsify(model, [0.5, 0.0], granularity="1x4")
        graph = export_canonical(nested, model, [TensorSpec("", (1, 3, 12, 12))])
        feed = samples(graph)
        (found,) = {one.answers for one in judge_of(graph, feed, tmp_path)}
        assert found == answers * len(next(iter(feed.values())))


def judge_of(graph, feed, folder):
    """Return what the levels of `graph` are judged to be, as they are."""
    graph.save(folder / "same.onnx")
    return judge(folder / "same.onnx", level_models(graph), feed, class_axes(graph.model))


def test_few_answers_of_which_none_may_change_are_told(small, tmp_path, monkeypatch):
    """One of 32 is more than 1 %: whoever reads that should know how few were counted."""
    from elsa_edge.exporters.int8 import exporter as module

    monkeypatch.setattr(module, "judge", lambda *_: [Judgement(0.01, 31 / 32, 32)] * 3)
    with pytest.raises(ExportError, match=r"96\.9% of only 32.*not one may change"):
        NestedInt8Exporter("nested").export(small, profile(), Golden(samples(small), ()), tmp_path)


@pytest.mark.parametrize("exporter", [NestedInt8Exporter(), OrtInt8Exporter()], ids=lambda e: e.name)
def test_calibration_data_that_say_nothing_are_refused(small, exporter, tmp_path):
    """Three samples, equal samples, NaN and a missing file: a sentence each, and nothing is written."""
    feed = samples(small)["x"]
    with pytest.raises(ExportError, match="3 in the golden inputs"):
        exporter.export(small, TOLERANT, Golden({"x": feed[:3]}, ()), tmp_path)
    with pytest.raises(ExportError, match="constant"):
        exporter.export(small, TOLERANT, Golden({"x": np.repeat(feed[:1], 20, 0)}, ()), tmp_path)
    broken = feed.copy()
    broken[2, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        exporter.export(small, TOLERANT, Golden({"x": broken}, ()), tmp_path)
    missing = profile(calibration=str(tmp_path / "none.npz"))
    with pytest.raises(InputError, match="cannot be read"):
        exporter.export(small, missing, Golden({"x": feed}, ()), tmp_path)
    assert list(tmp_path.iterdir()) == []


class Silent(nn.Module):
    """One of two branches is silenced by its bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.silent, self.heard, self.head = (
            nn.Conv2d(4, 8, 3, padding=1),
            nn.Conv2d(4, 8, 1),
            nn.Linear(512, 3),
        )
        nn.init.constant_(self.silent.bias, -1e3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.heard(x) + torch.relu(self.silent(x))).flatten(1))


def test_an_activation_that_never_fires_at_a_level_stays_zero(tmp_path):
    """A ReLU that is silent at every level: finite steps, and the float network's answers."""
    model = Silent().eval()
    levels = sparsify(model, [0.5, 0.0], granularity="4x4")
    graph = export_canonical(levels, model, [TensorSpec("", (1, 4, 8, 8))])
    feed = samples(graph)
    variant = NestedInt8Exporter("nested").export(
        graph, profile(int8_changed_answers=1.0), Golden(feed, ()), tmp_path
    )
    assert max(variant.notes["difference"]) < 0.05


class Normed(nn.Module):
    """One of two branches has a BatchNorm, which can silence it at single levels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.heard, self.head = nn.Conv2d(4, 8, 1), nn.Linear(512, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.heard(x) + torch.relu(self.norm(self.first(x)))).flatten(1))


def test_an_activation_that_never_fires_at_one_level_costs_the_others_nothing(tmp_path):
    """Silent at the sparse level alone, whose table of biases says so: its steps are its own."""
    model = Normed().eval()
    levels = sparsify(model, [0.5, 0.0], granularity="4x4", data=torch.randn(32, 4, 8, 8))
    biases = np.array(
        levels.tables["norm.bias"] if "norm.bias" in levels.tables else [model.norm.bias.detach().numpy()] * 2
    )
    biases[0] = -1e3
    silent = replace(levels, tables={**levels.tables, "norm.bias": biases.astype(np.float32)})
    graph = export_canonical(silent, model, [TensorSpec("", (1, 4, 8, 8))])
    feed = samples(graph)
    for exporter in (NestedInt8Exporter("nested"), OrtInt8Exporter()):
        folder = tmp_path / exporter.name
        folder.mkdir()
        variant = exporter.export(graph, profile(int8_changed_answers=1.0), Golden(feed, ()), folder)
        assert max(variant.notes["difference"]) < 0.1


def test_calibration_of_a_profile_and_preflight(small, tmp_path):
    """The profile's file is used where it names one; a processor without kernels is told so."""
    path = tmp_path / "real.npz"
    np.savez(path, x=samples(small)["x"])
    given = profile(int8_changed_answers=0.2, calibration=str(path))
    folder = tmp_path / "out"
    folder.mkdir()
    NestedInt8Exporter("nested").export(
        small, given, Golden({"x": np.zeros((1, 3, 40, 40), np.float32)}, ()), folder
    )
    assert NestedInt8Exporter().preflight(small, given).applies
    assert str(path) in OrtInt8Exporter().preflight(small, given).reasons[0]
    plain = load_profile("generic-x86-64")
    other = plain.model_copy(update={"hardware": plain.hardware.model_copy(update={"arch": "armv7l"})})
    refused = NestedInt8Exporter().preflight(small, other)
    assert not refused.applies
    assert "no 8-bit kernels for armv7l" in refused.reasons[0]


def one_image(folder):
    """Two convolutions whose batch is fixed to 1."""
    random = np.random.default_rng(0)
    network = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[1,8,12,12] x) => (float[1,8,12,12] y)'
        "{ a = Conv <pads = [1,1,1,1]> (x, v) b = Relu(a) y = Conv <pads = [1,1,1,1]> (b, w) }"
    )
    for name in ("v", "w"):
        value = random.standard_normal((8, 8, 3, 3)).astype(np.float32)
        network.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    onnx.save(network, folder / "one.onnx")
    return nest_onnx(folder / "one.onnx", (0.8, 0.0), prove=False)[0]


def many_images(folder):
    """A profile whose file of calibration has 32 images, and golden inputs of one."""
    images = np.random.default_rng(1).standard_normal((32, 8, 12, 12)).astype(np.float32)
    np.savez(folder / "many.npz", x=images)
    given = profile(int8_changed_answers=1.0, calibration=str(folder / "many.npz"))
    return given, Golden({"x": images[:1]}, ())


@pytest.mark.parametrize(
    "exporter", [NestedInt8Exporter("nested"), OrtInt8Exporter()], ids=lambda exporter: exporter.name
)
def test_a_network_of_one_image_is_calibrated_one_by_one(exporter, tmp_path):
    """A batch fixed to 1, as most ONNX files have it: golden inputs are too few, a file of calibration is not."""
    graph, (given, golden) = one_image(tmp_path), many_images(tmp_path)
    with pytest.raises(ExportError, match="too few") as refused:
        exporter.export(graph, TOLERANT, golden, tmp_path)
    folder = tmp_path / "made"
    folder.mkdir()

    variant = exporter.export(graph, given, golden, folder)

    assert "tflite.calibration" in refused.value.fix
    assert max(variant.notes["difference"]) < 0.1


def test_a_network_of_one_image_is_timed_on_one_image(tmp_path, monkeypatch):
    """Calibration has many of them; what is timed is a single inference."""
    seen = []
    monkeypatch.setattr(Stopwatch, "over_first", lambda watch, *_: seen.append(watch) or [0.5])
    monkeypatch.setattr(Stopwatch, "over_plain", lambda *_: 0.5)
    NestedInt8Exporter().export(one_image(tmp_path), *many_images(tmp_path), tmp_path)
    assert {array.shape for watch in seen for array in watch.inputs.values()} == {(1, 8, 12, 12)}


@pytest.mark.parametrize(("shape", "size"), [("2,8", (32, 8)), ("5,N,8", (5, 16, 8))])
def test_the_rival_is_calibrated_on_inferences(shape, size, tmp_path):
    """A fixed batch of two, and steps in front of the batch."""
    text = (
        f'<ir_version: 10, opset_import: ["" : 20]> g (float[{shape}] x) => (float[{shape}] y)'
        "{ y = MatMul(x, w) }"
    )
    network = onnx.parser.parse_model(text)
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 8)).astype(np.float32)
    network.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(network, tmp_path / "plain.onnx")
    graph, _ = nest_onnx(tmp_path / "plain.onnx", (0.5, 0.0), prove=False)
    given = {"x": random.standard_normal(size).astype(np.float32)}
    model = dense8(graph, 1, given, TOLERANT)
    x = next(inferences(graph.inputs, given))["x"]
    (found,) = open_session(ir.to_proto(model).SerializeToString()).run(None, {"x": x})
    assert np.abs(found - x @ weight).max() <= 0.1 * np.abs(x @ weight).max()


def test_elsewhere_the_kernels_are_estimated(small, tmp_path):
    """For a device of another kind nothing is timed: sparse levels get our kernels, dense ones ONNX Runtime's."""
    arm = load_profile("raspberry-pi-5")
    device = arm.model_copy(update={"tflite": TOLERANT.tflite})
    variant = NestedInt8Exporter().export(small, device, Golden(samples(small), ()), tmp_path)
    assert variant.notes["decided_by"] == ["estimate"] * 3
    assert variant.notes["kernels"] == ["nested", "dense", "dense"]
    assert variant.notes["time_over_dense_int8"] == [None] * 3
