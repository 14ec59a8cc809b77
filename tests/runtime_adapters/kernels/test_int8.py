"""The 8-bit kernels equal the integers of elsa_edge.quantise.reference bit for bit, on every instruction set."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from support.geometries import geometries
from support.nodes import Array, segments
from support.nodes8 import from_planes, planes_stride, run8, segments8, to_planes

from elsa_edge.nested_format.activations import ActivationKind
from elsa_edge.nested_format.library import library_path
from elsa_edge.nested_format.operators import Attributes, Window
from elsa_edge.nested_format.planes import Planes
from elsa_edge.quantise import reference
from elsa_edge.quantise.steps import Steps, codes_of, values_of

EXAMPLES = int(os.environ.get("ELSA_INT8_EXAMPLES", "25"))
SLOW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LEVELS = 3
CURVES: dict[ActivationKind, reference.Curve | None] = {
    ActivationKind.NONE: None,
    ActivationKind.HARD_SWISH: "hard-swish",
    ActivationKind.SILU: "silu",
}


def window(g: dict[str, Any], out: tuple[int, int]) -> Attributes:
    source, made = Planes(*g["size"], g["in_gap"]), Planes(*out, g["out_gap"])
    return Window(source, made, g["kernel"], g["stride"], g["dilation"], g["pads"][:2]).attributes()


def random_codes(random: np.random.Generator, shape: tuple[int, ...], *, extreme: bool) -> Array:
    """Weights, all of them large where sums should saturate whatever can."""
    if extreme:
        return random.choice(np.array([-127, 127], np.int8), shape)
    return np.clip(np.rint(random.standard_normal(shape) * 45), -127, 127).astype(np.int8)


def random_tables(random: np.random.Generator, rows: int, inputs: int) -> tuple[Array, Array]:
    """Multipliers that spread sums over all codes, and points; rows are padded to quads."""
    padded = -(-rows // 4) * 4
    table = np.zeros((LEVELS, 2, padded), np.float32)
    table[:, 0, :rows] = random.uniform(0.2, 2.0, (LEVELS, rows)) / (45 * 70 * np.sqrt(max(1, inputs)))
    table[:, 0, :rows] *= 60
    if random.random() < 0.2:  # far beyond all codes, where converting to integers would overflow
        table[:, 0, :rows] *= np.float32(1e5)
    table[:, 1, :rows] = random.uniform(-100, 200, (LEVELS, rows))
    points = np.ones((LEVELS, 6), np.float32)
    points[:, 0], points[:, 1] = random.integers(0, 256, LEVELS), random.integers(0, 256, LEVELS)
    points[:, 2], points[:, 3] = random.integers(0, 40, LEVELS), random.integers(200, 256, LEVELS)
    points[:, 4] = random.uniform(0, 2, LEVELS)
    table[:, 1, rows:] = points[:, 1:2]
    return table, points


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    g = draw(geometries())
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return g | {
        "groups": groups,
        "channels": groups * draw(st.integers(1, 9)),
        "rows": groups * draw(st.integers(1, 9)),
        "forms": [draw(st.sampled_from([1, 4])) for _ in range(LEVELS)],
        "batch": draw(st.integers(1, 2)),
        "residual": draw(st.booleans()),
        "extreme": draw(st.booleans()),
        "level": draw(st.integers(0, LEVELS - 1)),
        "activation": draw(st.sampled_from(list(CURVES))),
        "seed": draw(st.integers(0, 1 << 30)),
    }


def activate(g: dict[str, Any], table: Array, points: Array, random: np.random.Generator) -> None:
    """Make tables of numbers of tables of codes: what stands before an activation is small and of both signs."""
    if g["activation"] is not ActivationKind.NONE:
        table /= 20
        points[:, 4] /= 20
        points[:, 5] = random.uniform(0.5, 40, LEVELS)


@SLOW
@given(layers())
def test_convolutions_agree(g: dict[str, Any]) -> None:
    """Any kernel, stride, dilation, padding, groups, form of blocks, zero point, residual and bounds."""
    random = np.random.default_rng(g["seed"])
    share = g["channels"] // g["groups"]
    codes = random_codes(random, (g["rows"], share, *g["kernel"]), extreme=g["extreme"])
    index = random.choice(np.array([0, 1, 2, 255], np.uint8), codes.shape)
    table, points = random_tables(random, g["rows"], share * codes[0, 0].size)
    activate(g, table, points, random)
    table[:, 1, g["rows"] :] = 0 if g["activation"] else points[:, 1:2]
    level = g["level"]
    x = random.integers(0, 256, (g["batch"], g["channels"], *g["size"])).astype(np.uint8)
    if g["extreme"]:
        x[:] = 255
    sums = reference.convolve(
        x,
        np.where(index <= level, codes, 0),
        int(points[level, 0]),
        stride=g["stride"],
        pads=g["pads"],
        dilation=g["dilation"],
        groups=g["groups"],
    )
    out = sums.shape[2:]
    residual = random.integers(0, 256, sums.shape).astype(np.uint8) if g["residual"] else None
    wanted = reference.finish(sums, table[level], points[level], residual, activation=CURVES[g["activation"]])

    taps = codes[0, 0].size
    inputs = {
        "x": to_planes(x, g["in_gap"], int(points[level, 0])),
        "level": np.array(level, np.int64),
    }
    zero = int(points[level, 1])
    if residual is not None:
        inputs["residual"] = to_planes(residual, g["out_gap"], zero)
    constants = {"table": table, "points": points} | segments8(
        codes.reshape(g["rows"], -1), index.reshape(g["rows"], -1), g["forms"], g["groups"], taps
    )
    attributes = window(g, out) | {"in_quads": -(-g["channels"] // 4), "out_channels": g["rows"]}
    attributes["activation"] = int(g["activation"])
    y = run8("Int8Conv", inputs, constants, attributes, residual=residual is not None)
    assert np.array_equal(from_planes(y, g["rows"], *out, g["out_gap"]), wanted)
    # Borders, gaps and channels that pad a quad hold the code of 0, which the next kernel reads as padding.
    assert np.array_equal(
        y, to_planes(from_planes(y, y.shape[1] * 4, *out, g["out_gap"]), g["out_gap"], zero)
    )


@SLOW
@given(layers())
def test_depthwise_convolutions_agree(g: dict[str, Any]) -> None:
    """Any kernel, stride, dilation, padding, residual and zero point, with weights of one level or of all."""
    random = np.random.default_rng(g["seed"])
    rows, level = g["channels"], g["level"]
    kinds = 1 if g["batch"] == 1 else LEVELS
    codes = random_codes(random, (kinds, rows, *g["kernel"]), extreme=g["extreme"])
    taps = codes[0, 0].size
    table, points = random_tables(random, rows, taps)
    activate(g, table, points, random)
    table[:, 1, rows:] = 0 if g["activation"] else points[:, 1:2]
    x = random.integers(0, 256, (g["batch"], rows, *g["size"])).astype(np.uint8)
    sums = reference.convolve(
        x,
        codes[min(level, kinds - 1)][:, None],
        int(points[level, 0]),
        stride=g["stride"],
        pads=g["pads"],
        dilation=g["dilation"],
        groups=rows,
    )
    out, zero = sums.shape[2:], int(points[level, 1])
    residual = random.integers(0, 256, sums.shape).astype(np.uint8) if g["residual"] else None
    wanted = reference.finish(sums, table[level], points[level], residual, activation=CURVES[g["activation"]])
    inputs = {"x": to_planes(x, g["in_gap"], int(points[level, 0])), "level": np.array(level, np.int64)}
    if residual is not None:
        inputs["residual"] = to_planes(residual, g["out_gap"], zero)
    count, tap_quads = -(-rows // 4), -(-taps // 4)
    packed = np.zeros((kinds, count * 4, tap_quads * 4), np.int8)
    packed[:, :rows, :taps] = codes.reshape(kinds, rows, taps)
    weights = packed.reshape(kinds, count, 4, tap_quads, 4).transpose(0, 1, 3, 2, 4)
    constants = {"table": table, "points": points, "weights": np.ascontiguousarray(weights).view(np.uint8)}
    y = run8(
        "Int8Depthwise",
        inputs,
        constants,
        window(g, out) | {"in_quads": count, "activation": int(g["activation"])},
        residual=residual is not None,
    )
    assert np.array_equal(from_planes(y, rows, *out, g["out_gap"]), wanted)


@SLOW
@given(
    st.integers(1, 70),
    st.integers(1, 40),
    st.lists(st.sampled_from([1, 4, 8]), min_size=LEVELS, max_size=LEVELS),
    st.one_of(st.integers(1, 5), st.integers(11, 40), st.integers(90, 230)),
    st.integers(0, LEVELS - 1),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_products_agree(  # noqa: PLR0917 - drawn by hypothesis
    columns: int, rows: int, forms: list[int], count: int, level: int, extreme: bool, seed: int
) -> None:
    """Products with one vector, several, a tile of rows and many tiles, to codes and to floats."""
    random = np.random.default_rng(seed)
    codes = random_codes(random, (rows, columns), extreme=extreme)
    index = random.choice(np.array([0, 1, 2, 255], np.uint8), codes.shape)
    table, points = random_tables(random, rows, columns)
    padded = -(-columns // 4) * 4
    x = random.integers(0, 256, (count, padded)).astype(np.uint8)
    sums = x[:, :columns].astype(np.int64) @ np.where(index <= level, codes, 0).T.astype(np.int64)
    inputs = {"x": x, "level": np.array(level, np.int64)}
    constants = {"table": table, "points": points} | segments8(codes, index, forms)
    shape = {"quads": padded // 4, "rows": rows}
    y = run8("Int8MatMul", inputs, constants, shape)
    assert np.array_equal(y[:, :rows], reference.finish(sums, table[level], points[level], axis=1))
    assert (y[:, rows:] == np.clip(points[level, 1], *points[level, 2:4])).all()
    bounds = {"low": -50.0, "high": float("inf")}
    f = run8("Int8MatMulFloat", inputs, constants, shape | bounds, output=TensorProto.FLOAT)
    assert np.array_equal(f, np.maximum(reference.to_floats(sums, table[level]), np.float32(-50)))


@SLOW
@given(
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 3),
    st.integers(0, 255),
    st.floats(1e-3, 10),
    st.integers(0, 1 << 30),
)
def test_borders_agree(  # noqa: PLR0917 - drawn by hypothesis
    channels: int, height: int, width: int, gap: int, zero: int, step: float, seed: int
) -> None:
    """Images to planes of codes and back, means, and rows: NaN, infinities and values beyond the range included."""
    random = np.random.default_rng(seed)
    steps = Steps(float(np.float32(step)), zero)
    x = (random.standard_normal((2, channels, height, width)) * step * 150).astype(np.float32)
    x.reshape(-1)[:3] = [np.nan, np.inf, -np.inf][: x.size]
    level = {"level": np.array(0, np.int64)}
    constants = {"steps": np.array([[steps.step, zero]], np.float32)}
    layout = {"h": height, "w": width, "gap": gap}
    planes = run8("Int8FromImage", {"x": x, **level}, constants, layout)
    codes = codes_of(x, steps)
    assert np.array_equal(planes, to_planes(codes, gap, zero))
    back = run8(
        "ImageFromInt8",
        {"x": planes, **level},
        constants,
        layout | {"channels": channels},
        output=TensorProto.FLOAT,
    )
    assert np.array_equal(back, values_of(codes, steps))
    mean = run8(
        "Int8Mean",
        {"x": planes, **level},
        constants,
        layout | {"channels": channels},
        output=TensorProto.FLOAT,
    )
    total = codes.astype(np.int64).sum(axis=(2, 3), keepdims=True) - zero * height * width
    assert np.array_equal(
        mean, total.astype(np.float32) * (np.float32(steps.step) / np.float32(height * width))
    )
    rows = run8("Int8Rows", {"x": x, **level}, constants, {})
    assert np.array_equal(rows[..., :width], codes)
    assert (rows[..., width:] == zero).all()


@SLOW
@given(geometries(), st.integers(1, 9), st.integers(0, 255), st.integers(0, 1 << 30))
def test_maxima_agree(g: dict[str, Any], channels: int, zero: int, seed: int) -> None:
    """Padding never wins, whatever code 0 has."""
    random = np.random.default_rng(seed)
    reach = [(k - 1) * d for k, d in zip(g["kernel"], g["dilation"], strict=True)]
    g["pads"] = tuple(
        min(p, r) for p, r in zip(g["pads"], reach * 2, strict=True)
    )  # no window in padding alone
    size = [s + a + b for s, a, b in zip(g["size"], g["pads"][:2], g["pads"][2:], strict=True)]
    out = [(s - r - 1) // t + 1 for s, r, t in zip(size, reach, g["stride"], strict=True)]
    if min(out) < 1:
        return
    x = random.integers(0, 256, (1, channels, *g["size"])).astype(np.uint8)
    padded = np.zeros((1, channels, *size), np.uint8)
    padded[:, :, g["pads"][0] : g["pads"][0] + g["size"][0], g["pads"][1] : g["pads"][1] + g["size"][1]] = x
    wanted = np.zeros((1, channels, *out), np.uint8)
    for oy in range(out[0]):
        for ox in range(out[1]):
            top, left = oy * g["stride"][0], ox * g["stride"][1]
            seen = padded[
                :,
                :,
                top : top + reach[0] + 1 : g["dilation"][0],
                left : left + reach[1] + 1 : g["dilation"][1],
            ]
            wanted[:, :, oy, ox] = seen.max(axis=(2, 3))
    y = run8(
        "Int8MaxPool",
        {"x": to_planes(x, g["in_gap"], zero), "level": np.array(0, np.int64)},
        {"steps": np.array([[1.0, zero]], np.float32)},
        window(g, (out[0], out[1])) | {"in_quads": -(-channels // 4)},
    )
    assert np.array_equal(from_planes(y, channels, *out, g["out_gap"]), wanted)
    assert y.shape[2] == planes_stride(*out, g["out_gap"])


@pytest.mark.parametrize("isa", ["base", "avx2", "avxvnni", "avx512", "avx512vnni", "dotprod"])
def test_every_instruction_set_agrees(isa: str) -> None:
    """What this machine can be told to use instead passes the same tests: all equal one reference in every bit."""
    ask = (
        f"import ctypes; k = ctypes.CDLL({str(library_path())!r}).elsa_kernels8_isa; "
        "k.restype = ctypes.c_char_p; print(k().decode())"
    )
    environment = os.environ | {"ELSA_KERNELS_ISA": isa, "ELSA_INT8_EXAMPLES": "12"}
    told = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
    )
    kernels = ctypes.CDLL(str(library_path()))
    kernels.elsa_kernels8_isa.restype = ctypes.c_char_p
    if told.stdout.strip() != isa or kernels.elsa_kernels8_isa().decode() == isa:
        pytest.skip(f"this machine has no {isa}, or the other tests ran on it")
    command = [
        sys.executable,
        "-m",
        "pytest",
        __file__,
        "-q",
        "-k",
        "agree and not instruction",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_numbers_that_instruction_sets_would_round_differently_are_refused() -> None:
    """A huge multiplier, a code of 0 that is no byte, and segments of another kernel end in a sentence."""
    random = np.random.default_rng(0)
    codes, index = random_codes(random, (4, 4), extreme=False), np.zeros((4, 4), np.uint8)
    table, points = random_tables(random, 4, 4)
    inputs = {"x": np.zeros((1, 4), np.uint8), "level": np.array(0, np.int64)}
    good = {"table": table, "points": points} | segments8(codes, index, [1])
    shape = {"quads": 1, "rows": 4}
    large, odd = table.copy(), points.copy()
    large[0, 0, 0], odd[0, 0] = 1e5, 300
    with pytest.raises(Exception, match="multiplier or bias is out of range"):
        run8("Int8MatMul", inputs, good | {"table": large}, shape)
    with pytest.raises(Exception, match="code of 0 must be a whole number"):
        run8("Int8MatMul", inputs, good | {"points": odd}, shape)
    with pytest.raises(Exception, match="values of another kernel"):
        run8(
            "Int8MatMul",
            inputs,
            {"table": table, "points": points} | segments(codes[:, :1], index[:, :1], [1], None),
            shape,
        )
    with pytest.raises(Exception, match="level 3 does not exist"):
        run8("Int8MatMul", inputs | {"level": np.array(3, np.int64)}, good, shape)


def test_an_unsafe_pair_in_a_file_is_refused() -> None:
    """A hostile segment whose pairs would saturate on some processors is an error, not another number."""
    codes = np.full((1, 4), 30, np.int8)
    table, points = random_tables(np.random.default_rng(0), 1, 4)
    segment = segments8(codes, np.zeros((1, 4), np.uint8), [1])["segment0"].copy()
    segment[-64:-60] = np.array([127, 127, 0, 0], np.int8).view(np.uint8)
    inputs = {"x": np.zeros((1, 4), np.uint8), "level": np.array(0, np.int64)}
    with pytest.raises(Exception, match="a pair of codes is too large"):
        run8(
            "Int8MatMul",
            inputs,
            {"table": table, "points": points, "segment0": segment},
            {"quads": 1, "rows": 1},
        )


HOSTILE = {
    "the first pointer is not 0": (64, 8, "<u4"),
    "pointers fall": (68, 200, "<u4"),
    "a pointer lies beyond the entries": (72, 2**31, "<u4"),
    "rows side by side differ in length": (68, 4, "<u4"),
    "a column lies beyond its block": (128, 60000, "<u2"),
    "its size does not follow from its header": (28, 2**32 - 8, "<u4"),
    "block_rows is neither 1 nor 4": (16, 3, "<u4"),
    "value_type is none of 0, 1, 2 and 3": (20, 9, "<u4"),
}


@pytest.mark.parametrize(("told", "place", "value", "dtype"), [(t, *patch) for t, patch in HOSTILE.items()])
def test_hostile_pointers_of_quads_are_refused(told: str, place: int, value: int, dtype: str) -> None:
    """Nothing is read through a pointer, a column or a size that a file made up: each is an error that names it."""
    random = np.random.default_rng(0)
    codes = random.integers(-60, 60, (16, 12)).astype(np.int8)
    table, points = random_tables(random, 16, 12)
    segment = segments8(codes, np.zeros((16, 12), np.uint8), [8])["segment0"].copy()
    if told == "pointers fall":
        segment[72:76] = np.frombuffer(np.array([0], "<u4").tobytes(), np.uint8)
        value = 8
    segment[place : place + np.dtype(dtype).itemsize] = np.frombuffer(
        np.array([value], dtype).tobytes(), np.uint8
    )
    with pytest.raises(Exception, match=told):
        run8(
            "Int8MatMul",
            {"x": np.zeros((1, 12), np.uint8), "level": np.array(0, np.int64)},
            {"table": table, "points": points, "segment0": segment},
            {"quads": 3, "rows": 16},
        )


@pytest.mark.parametrize("wish", ["avx512vnni", "avx512", "avxvnni", "avx2", "dotprod", "base", "nonsense"])
def test_instructions_that_are_not_here_are_replaced_by_named_ones(wish: str) -> None:
    """Whatever is wished for, the library says what it uses, and uses nothing that the processor does not have."""
    ask = (
        f"import ctypes; k = ctypes.CDLL({str(library_path())!r}).elsa_kernels8_isa; "
        "k.restype = ctypes.c_char_p; print(k().decode())"
    )
    environment = os.environ | {"ELSA_KERNELS_ISA": wish}
    told = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    needed = {
        "base": set(), "avx2": {"avx2", "fma"}, "avxvnni": {"avx_vnni"}, "avx512": {"avx512bw", "avx512dq"},
        "avx512vnni": {"avx512_vnni"}, "dotprod": {"asimddp"},
    }  # fmt: skip
    assert needed[told] <= flags
    if wish in needed and needed[wish] <= flags and not (wish == "dotprod" and "avx2" in flags):
        assert told == wish
