"""The page in a real browser, at the width of a phone and of a desktop, in light and dark: `make test-browser`.

Needs Debian's package chromium-headless-shell (or chromium); without it these tests say so and are skipped.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.records import record

from benchmarks.browser import BROWSER, HOW_TO_GET_ONE, browse, requests_of
from elsa_edge.report.page import page

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path):
    if BROWSER is None:
        pytest.skip(f"no browser here: {HOW_TO_GET_ONE}")
    (tmp_path / "r.html").write_text(page(record()))
    return tmp_path


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_drawn(folder, width, dark):
    """It fills the window with ink on the right paper, says nothing on the console, and asks for nothing."""
    from skimage.io import imread

    shot = folder / "shot.png"
    mode = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = browse(folder / "r.html", folder, f"--screenshot={shot}", f"--window-size={width},1200", *mode)
    assert "CONSOLE" not in done.stderr, done.stderr
    pixels = imread(shot)[..., :3]
    assert pixels.shape[:2] == (1200, width)
    paper = (0x14, 0x18, 0x1C) if dark else (0xFC, 0xFC, 0xFB)
    assert tuple(pixels[1, 1]) == paper
    different = np.any(pixels != pixels[1, 1], axis=-1)
    assert 0.03 < different.mean() < 0.6
    assert different[:, width // 2 :].any()
    assert different[800:].any(), "the lower part of the window is empty"


def test_nothing_is_asked_of_the_network(folder):
    """The browser's own log of the network has no request for http, https or another host."""
    browse(folder / "r.html", folder, "--dump-dom")
    assert not requests_of(folder)


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(folder, width):
    """Wide tables scroll inside their own box. A frame of the page's width tells how wide its content is."""
    text = (
        (folder / "r.html")
        .read_text()
        .replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
    )
    probe = "<script>document.title=document.documentElement.scrollWidth+'/'+innerWidth</script></body>"
    (folder / "r.html").write_text(text.replace("</body>", probe))
    done = browse(folder / "r.html", folder, "--dump-dom", f"--window-size={width},1200")
    found = done.stdout.partition("<title>")[2].partition("</title>")[0]
    wide, window = map(int, found.split("/"))
    assert wide <= window
