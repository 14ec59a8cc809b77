"""Windows of convolutions, drawn by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Kernel, stride, dilation and padding under which the output is not empty, and gaps that the format demands."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    reach = tuple((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
    if draw(st.booleans()):  # same size: the usual network
        pads = (reach[0] // 2, reach[1] // 2, reach[0] - reach[0] // 2, reach[1] - reach[1] // 2)
    else:
        pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    h = draw(st.integers(max(1, reach[0] + 1 - pads[0] - pads[2]), 20))
    w = draw(st.integers(max(1, reach[1] + 1 - pads[1] - pads[3]), 20))
    gap = max(*pads, reach[1] // stride[1])
    in_gap = draw(st.sampled_from([gap, gap + 1, 0]))
    return {
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "pads": pads,
        "size": (h, w),
        "in_gap": in_gap,
        "out_gap": gap,
    }
