"""The service as a Starlette application. One inference at a time; the budget counts from the arrival of a request.

    time left for the inference = budget - (queueing + decoding), passed to the session request by request

Under overload requests are refused at the door (503, Retry-After) instead of being answered late one after another: at
most `queue_limit` wait. A request whose time is over before its inference begins is refused as well. A client that does
not send what it announced loses its place after `upload_s`; one that does not read its answer holds up nobody.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from http import HTTPStatus

import anyio
import anyio.to_thread
from anyio import CapacityLimiter
from images import ImageError, to_input
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from elsa_edge import AdaptiveSession
from elsa_edge.errors import ElsaError, InputError
from elsa_edge.telemetry.prometheus import SessionCollector

__all__ = ["CameraService"]

_LARGEST_BODY_BYTES = 20_000_000
_TOO_LARGE = f"An image may have {_LARGEST_BODY_BYTES // 1_000_000} MB at most"
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)


class TooLateError(Exception):
    """The time of a request was over before its inference began."""


class CameraService:
    """Routes and queue around one session.

    Args:
        session: An open session whose network takes one image, `(batch, 3, height, width)`.
        budget_ms: Time from arrival to answer; None for no limit. A client's `X-Budget-Ms` may shorten it.
        queue_limit: Requests that may wait while one is answered.
        labels: Names of the classes; without them a class is told by its number.
        upload_s: Longest time from a request's head to the end of its image.

    Raises:
        InputError: When the network takes anything else than one colour image, when a time is no number above 0, or
            when there are fewer labels than classes.
    """

    def __init__(
        self,
        session: AdaptiveSession,
        *,
        budget_ms: float | None = None,
        queue_limit: int = 4,
        labels: Sequence[str] | None = None,
        upload_s: float = 10.0,
    ) -> None:
        self._session = session
        self._upload_s = upload_s
        self._input, self._height, self._width = _image_input(session)
        self._output = next(iter(session.outputs))
        _require_times(budget_ms=budget_ms, upload_s=upload_s)
        _require_labels(labels, session.outputs[self._output][0])
        self._budget_ms = math.inf if budget_ms is None else budget_ms
        self._queue_limit, self._labels = queue_limit, labels
        self._present = 0
        self._worker = CapacityLimiter(1)
        self._registry = CollectorRegistry()
        self._registry.register(SessionCollector(session))
        self._requests = Counter(
            "camera_requests", "Requests by status.", ["status"], registry=self._registry
        )
        in_progress = Gauge(
            "camera_requests_in_progress",
            "Requests that wait or are being answered.",
            registry=self._registry,
        )
        in_progress.set_function(lambda: self._present)
        self._seconds = Histogram(
            "camera_request_seconds",
            "Arrival to answer of the requests that were answered.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.app = Starlette(
            routes=[
                Route("/label", self._label, methods=["POST"]),
                Route("/healthz", self._healthz),
                Route("/metrics", self._metrics),
            ]
        )

    async def _label(self, request: Request) -> Response:
        arrived_s = time.monotonic()
        try:
            response = await self._admit(request, arrived_s)
        except ElsaError:
            self._requests.labels(str(HTTPStatus.INTERNAL_SERVER_ERROR.value)).inc()
            raise
        self._requests.labels(str(response.status_code)).inc()
        if response.status_code == HTTPStatus.OK:
            self._seconds.observe(time.monotonic() - arrived_s)
        return response

    async def _admit(self, request: Request, arrived_s: float) -> Response:
        try:
            allowed_ms = self._allowed_ms(request)
            _announced(request)
        except _BadRequestError as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        except _TooLargeError as error:
            # What was announced is not read: the connection cannot serve another request.
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error), {"Connection": "close"})
        if self._present > self._queue_limit:
            return self._overloaded("Too many requests wait")
        # Counted from here, so that slow uploads cannot pile up in memory either.
        self._present += 1
        try:
            with anyio.fail_after(self._upload_s):
                body = await _body(request)
            ends_s = arrived_s + allowed_ms / 1e3
            answer = await anyio.to_thread.run_sync(
                self._answer, body, arrived_s, ends_s, limiter=self._worker
            )
        except ImageError as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        except _TooLargeError as error:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        except TooLateError as error:
            return self._overloaded(str(error))
        except TimeoutError:
            sentence = f"The image had not arrived after {self._upload_s:g} seconds"
            return _refusal(HTTPStatus.REQUEST_TIMEOUT, sentence, {"Connection": "close"})
        except ClientDisconnect:
            return _refusal(HTTPStatus.BAD_REQUEST, "The client went away before its image had arrived")
        finally:
            self._present -= 1
        return JSONResponse(answer)

    def _allowed_ms(self, request: Request) -> float:
        text = request.headers.get("x-budget-ms")
        if text is None:
            return self._budget_ms
        if _NUMBER.fullmatch(text) is None or float(text) == 0.0:
            raise _BadRequestError(f"X-Budget-Ms must be a number of milliseconds above 0, not {text!r}")
        return min(float(text), self._budget_ms)

    def _answer(self, body: bytes, arrived_s: float, ends_s: float) -> dict[str, object]:
        """Decode and infer; in the one worker thread, so that the session has one caller."""
        decoding_s = time.monotonic()
        feed = to_input(body, self._height, self._width)
        left_ms = (ends_s - time.monotonic()) * 1e3
        if left_ms <= 0.0:
            waited_ms, decoded_ms = (decoding_s - arrived_s) * 1e3, (time.monotonic() - decoding_s) * 1e3
            raise TooLateError(
                f"No time is left for the inference: {waited_ms:.0f} ms of upload and waiting,"
                f" {decoded_ms:.0f} ms of decoding"
            )
        outputs = self._session.run({self._input: feed}, within_ms=None if left_ms == math.inf else left_ms)
        run = self._session.last_run
        assert run is not None
        best = int(outputs[self._output][0].argmax())
        total_ms = (time.monotonic() - arrived_s) * 1e3
        return {
            # A network with any number of classes may have more than there are names.
            "label": self._labels[best] if self._labels and best < len(self._labels) else str(best),
            "level": run.level,
            "level_name": self._session.ladder[run.level].name,
            "chosen_by": str(run.chosen_by),
            "inference_ms": round(run.latency_ms, 3),
            "total_ms": round(total_ms, 3),
            "late": total_ms > (ends_s - arrived_s) * 1e3,
        }

    def _overloaded(self, sentence: str) -> Response:
        """Refuse for now, and say when the queue will be empty."""
        usual_ms = self._session.stats.p50_ms or 0.0
        seconds = max(1, math.ceil(self._present * usual_ms / 1e3))
        return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, sentence, {"Retry-After": str(seconds)})

    async def _healthz(self, _: Request) -> Response:
        decision = self._session.last_decision
        return JSONResponse({"status": "ok", "level": decision.level, "feasible": decision.feasible})

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _BadRequestError(Exception):
    pass


class _TooLargeError(Exception):
    pass


def _announced(request: Request) -> None:
    """Refuse a body that is too large before it is sent."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > _LARGEST_BODY_BYTES:
        raise _TooLargeError(_TOO_LARGE)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _LARGEST_BODY_BYTES:
            raise _TooLargeError(_TOO_LARGE)
        parts.append(part)
    return b"".join(parts)


def _refusal(status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence}, status_code=status, headers=headers)


def _require_times(**times: float | None) -> None:
    for name, value in times.items():
        if value is not None and not value > 0.0:
            raise InputError(f"{name} must be a number above 0", found=value)


def _require_labels(labels: Sequence[str] | None, shape: Sequence[int | None]) -> None:
    """Refuse fewer names than classes, where their number is known: the best class would sometimes have none."""
    sizes = [size for size in shape[1:] if size is not None]
    if labels is not None and len(sizes) == len(shape) - 1 and len(labels) < math.prod(sizes):
        raise InputError(
            "There are fewer labels than classes",
            expected=f"{math.prod(sizes)} lines, one name each",
            found=len(labels),
        )


def _image_input(session: AdaptiveSession) -> tuple[str, int, int]:
    """Return name, height and width of a network's one colour image; a free size becomes 224."""
    inputs = dict(session.inputs)
    name, (shape, dtype) = next(iter(inputs.items()))
    if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, None) or dtype != "float32":
        told = ", ".join(
            f"{name}: {'x'.join('?' if size is None else str(size) for size in sizes)} {kind}"
            for name, (sizes, kind) in inputs.items()
        )
        raise InputError(
            "This network takes no colour image", expected="one input ?x3xHxW float32", found=told
        )
    height, width = (224 if size is None else size for size in shape[2:])
    return name, height, width
