"""Start the service: python examples/camera_service bundle/ --device device.yaml."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import click
import uvicorn
from service import CameraService

from elsa_edge import AdaptiveSession
from elsa_edge.errors import ElsaError


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option("--device", help="Device profile, by name or YAML file; by default the bundle's own.")
@click.option("--variant", help="Variant to run; by default the profile's first that loads.")
@click.option("--budget-ms", type=click.FloatRange(min=0, min_open=True), help="Arrival to answer.")
@click.option(
    "--queue", default=4, show_default=True, type=click.IntRange(min=0), help="Requests that may wait."
)
@click.option(
    "--upload-seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Longest time that an image may take to arrive.",
)
@click.option("--labels", type=click.Path(path_type=Path, exists=True), help="Class names, one per line.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help="A file shared with other services here: they change their memory one at a time.",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address; loopback is for this machine only."
)
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 for any free one."
)
def main(
    *,
    bundle: Path,
    device: str | None,
    variant: str | None,
    budget_ms: float | None,
    queue: int,
    upload_seconds: float,
    labels: Path | None,
    ledger: Path | None,
    host: str,
    port: int,
) -> None:
    """Serve BUNDLE: POST an image to /label. SIGTERM lets the requests that have arrived finish."""
    listener = _listen(host, port)
    try:
        session = AdaptiveSession.open(bundle, device, variant=variant, ledger=ledger)
    except ElsaError as error:
        raise click.ClickException(str(error)) from error
    with session, listener:
        for note in session.notes:
            click.echo(note, err=True)
        names = None if labels is None else _names(labels)
        try:
            service = CameraService(
                session, budget_ms=budget_ms, queue_limit=queue, labels=names, upload_s=upload_seconds
            )
        except ElsaError as error:
            raise click.ClickException(str(error)) from error
        click.echo("Serving on http://{}:{}/label".format(*listener.getsockname()[:2]), err=True)
        config = uvicorn.Config(
            service.app, log_level="warning", timeout_graceful_shutdown=10, timeout_keep_alive=5
        )
        # uvicorn sends the signal on once the requests have finished; the session is then still to be closed.
        signal.signal(signal.SIGTERM, lambda *_: None)
        uvicorn.Server(config).run(sockets=[listener])


def _names(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"The labels {path} cannot be read as UTF-8 text ({error})") from error


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before the model is loaded, so that a second service says at once what is wrong."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # With the queue in front of us, a long backlog would only hide the overload.
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise click.ClickException(
            f"Port {port} on {host} cannot be used ({error.strerror}). Is another service running? Try --port."
        ) from error
    return listener


if __name__ == "__main__":
    main()
