"""A headless Chromium for pages of ours: what it draws, says on its console and asks of the network, and how fast.

Needs Debian's package chromium-headless-shell, or chromium.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["BROWSER", "HOW_TO_GET_ONE", "browse", "loading_ms", "requests_of"]

HOW_TO_GET_ONE: Final = "apt-get install --no-install-recommends chromium-headless-shell"
BROWSER: Final = next(
    (
        found
        for name in ("chromium-headless-shell", "chromium", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
# Reports forbid scripts; a copy that measures itself allows its own.
_NO_SCRIPTS: Final = "default-src 'none'"
_OWN_SCRIPTS: Final = "default-src 'none'; script-src 'unsafe-inline'"
_CLOCK: Final = (
    "<script>addEventListener('load',()=>{document.documentElement.scrollHeight;"
    "document.title=performance.now()})</script></head>"
)


def browse(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page; the browser keeps its own files, and the log of the network, in `folder`.

    Raises:
        RuntimeError: When there is no browser here.
    """
    if BROWSER is None:
        message = f"no browser here: {HOW_TO_GET_ONE}"
        raise RuntimeError(message)
    return subprocess.run(
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
            page.resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def requests_of(folder: Path) -> set[str]:
    """Return the addresses outside the page itself that the browser's own log of the network names."""
    text = (folder / "net.json").read_text().rstrip().rstrip(",")
    log = json.loads(text if text.endswith("}") else text + "]}")
    urls = {event["params"]["url"] for event in log["events"] if "url" in event.get("params", {})}
    return {url for url in urls if not url.startswith(("file:", "data:", "chrome"))}


def loading_ms(page: Path, folder: Path, width: int) -> float:
    """Return the time from the start of navigation until the page is loaded and laid out, by the browser's clock."""
    text = page.read_text(encoding="utf-8").replace(_NO_SCRIPTS, _OWN_SCRIPTS)
    copy = folder / "timed.html"
    copy.write_text(text.replace("</head>", _CLOCK, 1), encoding="utf-8")
    done = browse(copy, folder, "--dump-dom", f"--window-size={width},1200")
    return float(done.stdout.partition("<title>")[2].partition("</title>")[0])
