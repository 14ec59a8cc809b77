"""What every runtime adapter must do, as tests: import them where the fixtures `adapter` and `conv` are defined.

`conv` is the bundle of the zoo's convolutional network; `adapter` runs a variant of that network.
"""

from __future__ import annotations

import numpy as np
import pytest

from elsa_edge.bundle import Bundle, largest_difference
from elsa_edge.errors import ElsaError, InputError, LevelError
from elsa_edge.plugins import Opened


def sample(conv: Bundle, batch: int = 1) -> dict[str, np.ndarray]:
    return {"input": np.repeat(conv.golden.inputs["input"][:1], batch, axis=0)}


def test_every_level_in_every_order_gives_the_golden_outputs(adapter: Opened, conv: Bundle) -> None:
    """Levels do not disturb each other, whatever the order of switching."""
    for level in (0, 2, 1, 1, 2, 0):
        found = adapter.run(conv.golden.inputs, level)
        assert list(found) == list(conv.golden.outputs[level])
        for name, expected in conv.golden.outputs[level].items():
            difference, scale = largest_difference(found[name], expected)
            assert difference <= 1e-4 * max(1.0, scale)


def test_inputs_and_outputs_are_those_of_the_network(adapter: Opened, conv: Bundle) -> None:
    """Names, free batch and types, without the level."""
    assert adapter.level_count == 3
    assert dict(adapter.inputs) == conv.inputs
    assert list(adapter.outputs) == list(conv.outputs)


def test_other_batch_sizes_run(adapter: Opened, conv: Bundle) -> None:
    """The batch is free at every level; equal samples give equal rows."""
    for level in range(3):
        rows = adapter.run(sample(conv, 5), level)["output"]
        assert rows.shape == (5, 5)
        np.testing.assert_allclose(rows, np.broadcast_to(rows[:1], rows.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", [-1, 3, 255, True, 1.0, "0", None])
def test_a_level_out_of_range_is_refused_before_the_runtime(
    adapter: Opened, conv: Bundle, level: object
) -> None:
    """Also negative numbers and things that are not integers; nothing is ever rounded or clipped."""
    with pytest.raises(LevelError, match="no such level"):
        adapter.run(sample(conv), level)  # type: ignore[arg-type]


def test_numpy_integers_are_levels(adapter: Opened, conv: Bundle) -> None:
    """np.int64(1) is level 1."""
    found = adapter.run(sample(conv), np.int64(1))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found["output"], adapter.run(sample(conv), 1)["output"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: {"imput": x}, "Nearest to 'imput': 'input'"),
        (lambda _: {}, "found none"),
        (lambda x: {"input": x, "more": x}, "other names"),
        (lambda x: {"input": x.astype(np.float64)}, "wrong type"),
        (lambda x: {"input": x.astype(np.int64)}, "wrong type"),
        (lambda x: {"input": x[:, :2]}, "wrong shape"),
        (lambda x: {"input": x[0]}, "wrong shape"),
    ],
)
def test_wrong_inputs_are_refused_with_an_explanation(
    adapter: Opened, conv: Bundle, change, words: str
) -> None:
    """The first call and a call after a good one say the same."""
    x = sample(conv)["input"]
    for _ in range(2):
        with pytest.raises(InputError, match=words):
            adapter.run(change(x), 0)
        adapter.run(sample(conv), 0)


def test_inputs_that_are_not_contiguous_or_native_are_understood(adapter: Opened, conv: Bundle) -> None:
    """A view with other strides and the other byte order give the same numbers or a clear error."""
    x = sample(conv)["input"]
    expected = adapter.run({"input": x}, 2)["output"]
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(adapter.run({"input": turned}, 2)["output"], expected)
    with pytest.raises(InputError, match="wrong type"):
        adapter.run({"input": x.astype(">f4")}, 2)


def test_closing_twice_is_fine_and_running_after_it_is_an_error(adapter: Opened, conv: Bundle) -> None:
    """No crash, a sentence."""
    adapter.close()
    adapter.close()
    with pytest.raises(ElsaError, match="closed"):
        adapter.run(sample(conv), 0)


def test_memory_has_a_base_and_one_figure_a_level(adapter: Opened) -> None:
    """All figures are positive or zero, and some memory is needed at every level."""
    memory = adapter.memory()
    assert len(memory.level_bytes) == 3
    assert all(memory.at(level) > 0 for level in range(3))
