"""The page in a real browser, at the width of a phone and of a desktop, in light and dark: `make test-browser`.

Needs Debian's package chromium-headless-shell (or chromium); without it these tests say so and are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import numpy as np
import pytest
from support.records import record

from elsa_edge.report.page import page

pytestmark = pytest.mark.browser
BROWSER = next(
    (
        found
        for name in ("chromium-headless-shell", "chromium", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)


def browse(folder, *options):
    """Run the browser on the page; return what it said and the seconds that it took."""
    began_s = time.monotonic()
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'browser'}",
            f"--log-net-log={folder / 'net.json'}",
            *options,
            (folder / "r.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done, time.monotonic() - began_s


@pytest.fixture
def folder(tmp_path):
    if BROWSER is None:
        pytest.skip("no browser here: apt-get install chromium-headless-shell")
    (tmp_path / "r.html").write_text(page(record()))
    return tmp_path


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_drawn(folder, width, dark):
    """It fills the window with ink on the right paper, says nothing on the console, and asks for nothing."""
    from skimage.io import imread

    shot = folder / "shot.png"
    mode = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done, _ = browse(folder, f"--screenshot={shot}", f"--window-size={width},1200", *mode)
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
    browse(folder, "--dump-dom")
    text = (folder / "net.json").read_text().rstrip().rstrip(",")
    log = json.loads(text if text.endswith("}") else text + "]}")
    urls = {event["params"]["url"] for event in log["events"] if "url" in event.get("params", {})}
    assert not {url for url in urls if not url.startswith(("file:", "data:", "chrome"))}


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
    done, _ = browse(folder, "--dump-dom", f"--window-size={width},1200")
    found = done.stdout.partition("<title>")[2].partition("</title>")[0]
    wide, window = map(int, found.split("/"))
    assert wide <= window
