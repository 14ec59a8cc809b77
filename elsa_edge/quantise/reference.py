"""What the 8-bit kernels compute, in numpy: the oracle that every instruction set equals bit for bit.

    sum  = exact integers;   y = clamp(rint(float32(sum) * scale + bias + float32(r) * share), low, high)
    with HardSwish or SiLU   t = act(float32(sum) * scale + bias + float32(r) * share)
                             y = clamp(rint(t * inverse + zero), low, high)

Each product and sum after the integers is rounded to float32 by itself: there are no fused multiply-adds.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Curve", "convolve", "exponential", "exponential_apart", "finish", "to_floats"]

Codes = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.int64]
Curve = Literal["hard-swish", "silu"]


def convolve(
    x: Codes,
    weight: npt.NDArray[Any],
    zero: int,
    *,
    stride: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Sums:
    """Return the integer sums of a convolution of codes.

    Args:
        x: (batch, channels, height, width).
        weight: (out, channels / groups, kernel height, kernel width) codes of one level, 0 where inactive.
        zero: The code of 0, which padding has.
        stride: Vertical, horizontal.
        pads: Top, left, bottom, right.
        dilation: Vertical, horizontal.
        groups: Of channels.
    """
    batch, channels, height, width = x.shape
    out, share, kh, kw = weight.shape
    padded = np.full((batch, channels, height + pads[0] + pads[2], width + pads[1] + pads[3]), zero, np.int64)
    padded[:, :, pads[0] : pads[0] + height, pads[1] : pads[1] + width] = x
    oh = (padded.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (padded.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    sums = np.zeros((batch, groups, out // groups, oh, ow), np.int64)
    grouped = weight.astype(np.int64).reshape(groups, out // groups, share, kh, kw)
    for ky in range(kh):
        for kx in range(kw):
            top, left = ky * dilation[0], kx * dilation[1]
            seen = padded[
                :,
                :,
                top : top + (oh - 1) * stride[0] + 1 : stride[0],
                left : left + (ow - 1) * stride[1] + 1 : stride[1],
            ].reshape(batch, groups, share, oh, ow)
            sums += np.einsum("goc,bgchw->bgohw", grouped[..., ky, kx], seen)
    return sums.reshape(batch, out, oh, ow)


def finish(
    sums: Sums,
    table: npt.NDArray[np.float32],
    points: npt.NDArray[np.float32],
    residual: Codes | None = None,
    *,
    axis: int = 1,
    activation: Curve | None = None,
) -> Codes:
    """Return the codes of sums.

    Args:
        sums: With rows along `axis`.
        table: (2, rows or more) scale and bias of one level.
        points: (6,) of one level: codes of 0, bounds, the residual's share, 1 over the output's step.
        residual: Codes to add, of the shape of `sums`.
        axis: Of the rows.
        activation: What stands before the codes; a clip is in the bounds.
    """
    t = _scaled(sums, table, axis)
    if residual is not None:
        t = t + residual.astype(np.float32) * np.float32(points[4])
    if activation is not None:
        t = _activated(t, activation) * np.float32(points[5]) + np.float32(points[1])
    return np.rint(np.clip(t, np.float32(points[2]), np.float32(points[3]))).astype(np.uint8)


def _activated(v: npt.NDArray[np.float32], activation: Curve) -> npt.NDArray[np.float32]:
    one = np.float32(1)
    if activation == "hard-swish":
        gate = np.clip(v * np.float32(1 / 6) + np.float32(0.5), np.float32(0), one)
        return np.asarray(v * gate, np.float32)
    return np.asarray(v / (exponential(-v) + one), np.float32)


def exponential(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return exp(x) by the kernels' own steps: 2^n times a polynomial of what is left."""
    less_one, power = exponential_apart(x)
    return np.asarray((less_one + np.float32(1)) * power, np.float32)


def exponential_apart(
    x: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the polynomial less 1, which is exact near 0, and 2^n."""
    shift = np.float32(12582912)  # 1.5 * 2^23: adding it rounds to the nearest integer
    x = np.clip(x, np.float32(-87), np.float32(88))
    shifted = x * np.float32(1.44269504) + shift
    n = shifted - shift
    r = (x - n * np.float32(0.693359375)) - n * np.float32(-2.12194440e-4)
    p = np.full_like(r, np.float32(1 / 5040))
    for term in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1):
        p = p * r + np.float32(term)
    power = (shifted.view(np.int32) + np.int32(127 - 0x4B400000)) << np.int32(23)
    return np.asarray(p * r, np.float32), power.view(np.float32)


def to_floats(sums: Sums, table: npt.NDArray[np.float32], *, axis: int = -1) -> npt.NDArray[np.float32]:
    """Return sums as floats: scale and bias are those of the values themselves."""
    return _scaled(sums, table, axis)


def _scaled(sums: Sums, table: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    shape = [1] * sums.ndim
    shape[axis] = rows = sums.shape[axis]
    scale, bias = (row[:rows].reshape(shape) for row in table)
    product: npt.NDArray[np.float32] = sums.astype(np.int32).astype(np.float32) * scale
    shifted: npt.NDArray[np.float32] = product + bias
    return shifted
