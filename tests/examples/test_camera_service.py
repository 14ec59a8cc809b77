"""The example service, as a process of its own on a real port."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from support.bundles import bundle

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "camera_service"


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    """Start the service on a free port and return it with its address."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE), str(bundle("conv")), "--variant", "onnx-selector", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ELSA_EDGE_CACHE": ""},
    )
    for line in process.stderr:
        if "Serving on" in line:
            return process, line.split()[-1].removesuffix("/label")
    raise AssertionError(f"the service ended with {process.wait()}")


def stop(process: subprocess.Popen[str]) -> None:
    """Ask the service to end, and see that it does so without complaint."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    with process.stderr:
        assert "Traceback" not in process.stderr.read()


@pytest.fixture(scope="module")
def service():
    process, address = start("--port", "0", "--queue", "1")
    yield address
    stop(process)


def png(side: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_a_network_that_takes_no_colour_image_is_refused_at_the_start() -> None:
    """Not at the first image, and not with a traceback."""
    options = [str(bundle("mlp")), "--variant", "onnx-selector", "--port", "0"]
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE), *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 1
    assert "takes no colour image: expected one input ?x3xHxW float32, found" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("option", "content", "words"),
    [
        ("--labels", b"cat", "There are fewer labels than classes: expected"),
        ("--labels", b"\xff\xfe\x00", "cannot be read as UTF-8 text"),
        ("--budget-ms", None, "budget_ms must be a number above 0: found nan"),
        ("--upload-seconds", None, "upload_s must be a number above 0: found nan"),
    ],
    ids=["few", "binary", "budget", "upload"],
)
def test_what_would_fail_at_every_image_is_refused_at_the_start(
    tmp_path: Path, option: str, content: bytes | None, words: str
) -> None:
    value = "nan"
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
        value = str(tmp_path / "labels.txt")
    command = [sys.executable, str(EXAMPLE), str(bundle("conv")), "--variant", "onnx-selector"]
    ended = subprocess.run(
        [*command, "--port", "0", option, value], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, words in ended.stderr) == (1, True), ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_image_is_answered_with_label_level_and_latency(service: str) -> None:
    answer = httpx.post(f"{service}/label", content=png(64)).raise_for_status().json()

    assert int(answer["label"]) >= 0
    assert answer["level"] in range(3)
    assert 0.0 < answer["inference_ms"] <= answer["total_ms"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"no image", {}, 400, "no JPEG, PNG or WebP"),
        (b"", {}, 400, "no JPEG, PNG or WebP"),
        (png(8)[:60], {}, 400, "no JPEG, PNG or WebP"),
        (png(8), {"X-Budget-Ms": "soon"}, 400, "must be a number"),
        (png(8), {"X-Budget-Ms": "-1"}, 400, "above 0"),
        (png(8), {"X-Budget-Ms": "0.0"}, 400, "above 0"),
        (png(8), {"X-Budget-Ms": "1_0"}, 400, "must be a number"),
        (png(8), {"X-Budget-Ms": "0.001"}, 503, "No time is left"),
        (b"\0" * 20_000_001, {}, 413, "20 MB at most"),
    ],
    ids=["text", "empty", "cut", "no-number", "past", "zero", "underscore", "short", "large"],
)
def test_what_cannot_be_answered_is_refused_in_words(
    service: str, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    answer = httpx.post(f"{service}/label", content=body, headers=headers)

    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


def test_overload_is_refused_at_the_door_and_counted(service: str) -> None:
    """One is answered, one waits, the others are told to come back."""
    body = png(900)
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: httpx.post(f"{service}/label", content=body, timeout=60), range(36))
        )
    refused = [answer for answer in answers if answer.status_code == 503]

    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    metrics = httpx.get(f"{service}/metrics").text
    assert float(metrics.split('camera_requests_total{status="503"} ')[1].split()[0]) >= len(refused)
    assert "elsa_edge_runs_total" in metrics
    assert httpx.get(f"{service}/healthz").json()["status"] == "ok"


def test_a_port_in_use_is_said_in_one_sentence(service: str) -> None:
    port = service.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(bundle("conv")), "--port", port],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "Is another service running? Try --port." in done.stderr
    assert "Traceback" not in done.stderr


def connection(service: str) -> socket.socket:
    host, port = service.removeprefix("http://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def test_an_image_that_is_announced_too_large_is_refused_before_it_is_sent(service: str) -> None:
    with connection(service) as client:
        client.sendall(b"POST /label HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999999\r\n\r\n")

        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_clients_that_never_read_hold_up_nobody(service: str) -> None:
    """Thousands of answers that nobody takes; another client is answered all the same."""
    with connection(service) as silent:
        silent.settimeout(0.5)
        with contextlib.suppress(TimeoutError):  # at some point the service takes no more of it
            silent.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n" * 5000)

        assert httpx.post(f"{service}/label", content=png(64), timeout=30).status_code == 200


def test_clients_that_never_send_their_image_lose_their_place() -> None:
    """As many as there are places announce an image and send a part; then there is room again."""
    process, address = start("--port", "0", "--queue", "1", "--upload-seconds", "0.5")
    head = b"POST /label HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nhalf"
    with connection(address) as one, connection(address) as two:
        for stalled in (one, two):
            stalled.sendall(head)
        for stalled in (one, two):
            assert b"408" in stalled.recv(1000).splitlines()[0]
        assert httpx.post(f"{address}/label", content=png(64), timeout=30).status_code == 200
    stop(process)


def test_a_budget_shorter_than_decoding_is_said_with_what_took_the_time() -> None:
    """Nothing is computed for an answer that would be late; the service goes on."""
    process, address = start("--port", "0", "--budget-ms", "0.001")
    answer = httpx.post(f"{address}/label", content=png(64), timeout=30)
    assert answer.status_code == 503
    assert "of decoding" in answer.json()["error"]
    assert httpx.get(f"{address}/healthz").status_code == 200
    stop(process)


def test_sigterm_lets_a_request_finish() -> None:
    process, address = start("--port", "0")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"{address}/label", content=png(2500), timeout=60)
        while "camera_requests_in_progress 1.0" not in httpx.get(f"{address}/metrics").text:
            assert not answer.done()
        stop(process)

        assert answer.result().status_code == 200
