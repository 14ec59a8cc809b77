"""The contract of format 1: every way of breaking it is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from elsa_edge.errors import ContractError, ExportError
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.check import check_contract
from elsa_edge.graph.torch_export import example_inputs


@pytest.fixture
def proto(canonical, tmp_path):
    """A canonical graph as the protobuf that a stranger may edit."""
    canonical("conv").save(tmp_path / "model.onnx")
    return onnx.load(tmp_path / "model.onnx")


def reloaded(proto, tmp_path):
    onnx.save(proto, tmp_path / "edited.onnx")
    return check_contract(CanonicalGraph.load(tmp_path / "edited.onnx"))


def initializer(proto, name):
    return next(tensor for tensor in proto.graph.initializer if tensor.name == name)


def replace(proto, name, array):
    initializer(proto, name).CopyFrom(onnx.numpy_helper.from_array(array, name))


def node_making(proto, output):
    return next(node for node in proto.graph.node if output in node.output)


def test_a_saved_graph_is_the_same_graph(proto, tmp_path, canonical):
    """Saving and loading keeps contract, ladder and tensors; versions are the ones every runtime loads."""
    found = reloaded(proto, tmp_path)
    assert found.ladder == canonical("conv").ladder
    assert found.nested == canonical("conv").nested
    assert (proto.ir_version, proto.opset_import[0].version) == (10, 20)
    onnx.checker.check_model(proto, full_check=True)


def test_more_than_two_gigabytes_are_refused_in_words(tmp_path, canonical):
    """Before protobuf fails: the size is that of the numbers; nothing is written."""
    graph = canonical("mlp").copy()
    zeros = np.zeros((1 << 29) - 1024, np.float32)  # never touched, so it takes no memory
    value = ir.Value(name="large", const_value=ir.tensor(zeros, name="large"))
    graph.model.graph.register_initializer(value)

    with pytest.raises(ExportError, match=r"too large for one ONNX file.*found 2\.00 GiB.*--outputs NAME"):
        graph.save(tmp_path / "m.onnx")

    assert list(tmp_path.iterdir()) == []


def test_no_traces_of_the_user_s_machine(proto):
    """Paths and stack traces that torch notes in the graph do not travel."""
    saved = proto.SerializeToString()
    for place in (Path(torch.__file__).parents[2], Path(__file__).parents[1], Path.home()):
        assert f"{place}/".encode() not in saved
    assert b"site-packages" not in saved


def level_index_of_a_level_that_is_not(proto):
    index = onnx.numpy_helper.to_array(initializer(proto, "mix.weight.level_index")).copy()
    index.flat[0] = 77
    replace(proto, "mix.weight.level_index", index)


def index_of_another_shape(proto):
    replace(proto, "mix.weight.level_index", np.zeros((3, 3), np.uint8))


def index_of_another_type(proto):
    index = onnx.numpy_helper.to_array(initializer(proto, "mix.weight.level_index"))
    replace(proto, "mix.weight.level_index", index.astype(np.int32))


def moved_weights(proto):
    index = onnx.numpy_helper.to_array(initializer(proto, "mix.weight.level_index")).copy()
    index[index == 2] = 0
    replace(proto, "mix.weight.level_index", index)


def table_without_a_row(proto):
    table = onnx.numpy_helper.to_array(initializer(proto, "norm.bias.levels"))
    replace(proto, "norm.bias.levels", table[:-1])


def a_mask_that_is_not_nested(proto):
    node_making(proto, "mix.weight.active").op_type = "GreaterOrEqual"


def a_mask_that_leaks_other_numbers(proto):
    replace(proto, "level.zero_weight", np.array(0.5, np.float32))


def an_unmasked_use(proto):
    conv = next(node for node in proto.graph.node if "mix.weight.masked" in node.input)
    conv.input[list(conv.input).index("mix.weight.masked")] = "mix.weight"


def an_unmasked_output_through_a_cast(proto):
    # CastLike reads the numbers of its first operand and only the type of its second.
    proto.graph.node.add(op_type="CastLike", input=["mix.weight", "mix.weight"], output=["leak"], name="leak")


def an_unmasked_use_by_somebody_s_shape(proto):
    proto.graph.node.add(op_type="Shape", domain="other", input=["mix.weight"], output=["leak"], name="leak")


def an_unguarded_level(proto):
    node_making(proto, "level.byte").input[0] = "level"


def more_levels_allowed(proto):
    replace(proto, "level.allowed", np.arange(9, dtype=np.int64))


def negative_levels_allowed(proto):
    replace(proto, "level.count", np.array(0, np.int64))


def a_weight_of_another_type(proto):
    weight = onnx.numpy_helper.to_array(initializer(proto, "mix.weight"))
    replace(proto, "mix.weight", weight.astype(np.float64))


def newer_versions(proto):
    proto.ir_version = 13


def weights_swapped_under_the_mask(proto):
    node_making(proto, "mix.weight.flat").input[0] = "stem.weight"


def a_value_that_nothing_makes(proto):
    next(node for node in proto.graph.node if node.op_type == "Conv").input[0] = "nowhere"


def a_level_index_that_is_read_elsewhere(proto):
    proto.graph.node.append(onnx.helper.make_node("Identity", ["mix.weight.level_index"], ["peek"]))


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (a_value_that_nothing_makes, r"is broken: found Conv .* reads nowhere, which nothing makes"),
        (a_level_index_that_is_read_elsewhere, r"mix.weight is not masked .* the level index used elsewhere"),
        (level_index_of_a_level_that_is_not, r"names levels that are not in the ladder: .* found 77"),
        (index_of_another_shape, r"mix.weight has a wrong shape: expected \(8, 8, 1, 1\), found \(3, 3\)"),
        (index_of_another_type, r"mix.weight has a wrong type: expected uint8, found int32"),
        (moved_weights, r"density of level s90 is not what the ladder says"),
        (table_without_a_row, r"norm.bias has a wrong number of rows: expected 3"),
        (
            a_mask_that_is_not_nested,
            r"mix.weight.active should come from LessOrEqual, comes from GreaterOrEqual",
        ),
        (
            a_mask_that_leaks_other_numbers,
            r"stem.weight is not masked .* other numbers than the weight and zero",
        ),
        (an_unmasked_use, r"mix.weight is not masked .* the unmasked weight used by Conv"),
        (an_unmasked_output_through_a_cast, r"the unmasked weight used by CastLike"),
        (an_unmasked_use_by_somebody_s_shape, r"the unmasked weight used by Shape"),
        (an_unguarded_level, r"not guarded .* the unchecked level is used elsewhere"),
        (more_levels_allowed, r"not guarded .* for a ladder of 3"),
        (negative_levels_allowed, r"not guarded .* negative levels would not fail"),
        (a_weight_of_another_type, r"mix.weight is not masked .* type float64"),
        (newer_versions, r"expected IR 10, opset 20, found IR 13, opset 20"),
        (weights_swapped_under_the_mask, r"stem.weight is not masked .* the unmasked weight used by Reshape"),
    ],
)
def test_tampering_is_found(proto, tmp_path, tamper, reason):
    """A graph that breaks the contract is refused, and the reason is the one that was made."""
    tamper(proto)
    with pytest.raises(ContractError, match=reason):
        reloaded(proto, tmp_path)


class TestFiles:
    def test_missing(self, tmp_path):
        """A path without a file is named."""
        with pytest.raises(ContractError, match="There is no model"):
            CanonicalGraph.load(tmp_path / "none.onnx")

    @pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 20])
    def test_not_onnx(self, tmp_path, content):
        """Any other file is an error of one sentence."""
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(ContractError):
            CanonicalGraph.load(tmp_path / "x.onnx")

    def test_an_ordinary_onnx_model(self, proto, tmp_path):
        """A model without our metadata is told apart, with the command that makes a canonical one."""
        del proto.metadata_props[:]
        with pytest.raises(ContractError, match="elsa-edge export"):
            reloaded(proto, tmp_path)

    def test_another_format(self, proto, tmp_path):
        """A future format is refused, not guessed at."""
        next(p for p in proto.metadata_props if p.key == "elsa_edge.format").value = "2"
        with pytest.raises(ContractError, match="= '2'"):
            reloaded(proto, tmp_path)

    def test_a_damaged_ladder(self, proto, tmp_path):
        """Metadata is data of strangers too."""
        next(p for p in proto.metadata_props if p.key == "elsa_edge.ladder").value = "{}"
        with pytest.raises(ContractError, match="damaged"):
            reloaded(proto, tmp_path)

    def test_external_data_is_refused(self, proto, tmp_path):
        """A canonical graph reads no second file, wherever that would lie."""
        tensor = initializer(proto, "mix.weight")
        onnx.external_data_helper.set_external_data(tensor, "../../etc/passwd")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        (tmp_path / "edited.onnx").write_bytes(proto.SerializeToString())
        with pytest.raises(ContractError, match="one file"):
            CanonicalGraph.load(tmp_path / "edited.onnx")


@pytest.mark.parametrize("name", ["conv", "transformer", "two_inputs"])
@pytest.mark.parametrize("level", [-1, 99, -(2**40), 2**40])
def test_a_level_out_of_range_fails_in_the_runtime(canonical, tmp_path, name, level):
    """With per-level tables and without, stock ONNX Runtime refuses; it never computes something else."""
    graph = canonical(name)
    graph.save(tmp_path / "model.onnx")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(tmp_path / "model.onnx", options)
    feed = example_inputs(list(graph.inputs.values()), 1)
    assert session.run(None, {**feed, "level": np.array(0)})
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {**feed, "level": np.array(level)})
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {**feed, "level": np.array(len(graph.ladder))})


def test_names_that_hide_a_character_are_refused(proto, tmp_path):
    """An input whose name looks like another one's is none."""
    old = proto.graph.input[0].name
    new = old + "\u200b"
    proto.graph.input[0].name = new
    for node in proto.graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
    with pytest.raises(ContractError, match=r"no name for an input .*U\+200B"):
        reloaded(proto, tmp_path)
