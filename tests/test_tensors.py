"""Inputs and outputs of a network."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from elsa_edge.errors import InputError, UsageError
from elsa_edge.tensors import TensorSpec, check_inputs, parse_inputs


class TestParse:
    @pytest.mark.parametrize(
        ("text", "spec"),
        [
            ("1x3x224x224", TensorSpec("", (1, 3, 224, 224), "float32")),
            ("tokens=1x24:int64", TensorSpec("tokens", (1, 24), "int64")),
            ("mask=4:bool", TensorSpec("mask", (4,), "bool")),
        ],
    )
    def test_the_command_line_form(self, text, spec):
        """[NAME=]SHAPE[:DTYPE]."""
        assert TensorSpec.parse(text) == spec

    @pytest.mark.parametrize("text", ["", "x", "1x", "1x-3", "1,3", "a=b=1", "1x0x3", "1x3:float33"])
    def test_unreadable_shapes(self, text):
        """A usage error says what is readable."""
        with pytest.raises(UsageError):
            TensorSpec.parse(text)

    def test_inputs_without_names_have_empty_ones(self):
        """They are named after the arguments that they feed, which only the network knows."""
        assert [spec.name for spec in parse_inputs(["1x2", "y=1x3", "1x4"])] == ["", "y", ""]

    def test_two_inputs_of_one_name(self):
        """A duplicate name is a mistake."""
        with pytest.raises(UsageError, match="same name"):
            parse_inputs(["a=1x2", "a=1x3"])


class TestCheck:
    specs = MappingProxyType({"image": TensorSpec("image", (None, 3)), "scale": TensorSpec("scale", ())})

    def test_fitting_inputs_pass_in_the_network_s_order(self):
        """Any batch size is fine; scalars stay scalars; memory becomes contiguous."""
        image = np.zeros((3, 5), np.float32).T
        ready = check_inputs(self.specs, {"scale": np.float32(2), "image": image})
        assert list(ready) == ["image", "scale"]
        assert ready["image"].flags.c_contiguous
        assert ready["scale"].shape == ()

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ({"image": np.zeros((1, 3), np.float32)}, "other names"),
            ({"imgae": np.zeros((1, 3), np.float32), "scale": np.float32(1)}, "Nearest to 'imgae': 'image'"),
            ({"image": np.zeros((1, 4), np.float32), "scale": np.float32(1)}, "wrong shape"),
            ({"image": np.zeros((1, 3, 1), np.float32), "scale": np.float32(1)}, "wrong shape"),
            ({"image": np.zeros((1, 3)), "scale": np.float32(1)}, "expected float32, found float64"),
        ],
    )
    def test_inputs_that_do_not_fit(self, given, problem):
        """Name, rank, size and type are checked before the runtime sees anything."""
        with pytest.raises(InputError, match=problem):
            check_inputs(self.specs, given)
