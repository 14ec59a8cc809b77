"""`elsa-edge` and `python` for the commands of the docs, from a process that has imported torch and ONNX once.

    a command of a page -> stub on PATH --arguments, folder, environment, stdin/out/err--> server --fork--> the command

Importing is most of what a short command costs (two to six seconds of CPU, for dozens of commands), and says nothing
about the page. Cold starts are tested elsewhere: cli/test_shell.py, test_wheel.py, test_third_party.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["warm_commands"]

_STUB = """#!{python} -ISE
import json, os, socket, sys
told = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(told).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(told)
    status = server.recv(1)
sys.exit(status[0] if status else 70)
"""
# What the commands of the pages import sooner or later, the slow things only. None of it starts a thread.
_SLOW = (
    "torch",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "torch.onnx._internal.exporter._registration",
    "scipy.optimize",
)


@contextlib.contextmanager
def warm_commands(folder: Path) -> Iterator[Path]:
    """Start the server and yield a folder for the front of PATH, with the stubs in it.

    Args:
        folder: An empty folder; its path must be short enough for a socket's address.
    """
    address = folder / "s"
    for name in ("elsa-edge", "python"):
        stub = folder / name
        stub.write_text(_STUB.format(python=sys.executable, name=name, address=str(address)))
        stub.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, str(address)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield folder
    finally:
        server.kill()
        server.communicate()


def _serve(address: str) -> None:
    """Answer one command after the other; each runs in a fork."""
    for module in _SLOW:
        with contextlib.suppress(ImportError):
            __import__(module)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            client, _ = listener.accept()
            with client:
                size, descriptors, _, _ = socket.recv_fds(client, 8, 3)
                told = client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
                child = os.fork()
                if child == 0:
                    listener.close()
                    client.close()
                    _become(descriptors, *json.loads(told))
                for descriptor in descriptors:
                    os.close(descriptor)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                with contextlib.suppress(OSError):
                    client.sendall(bytes([status if status >= 0 else 128 - status]))


def _become(
    descriptors: list[int], name: str, arguments: list[str], folder: str, environment: dict[str, str]
) -> None:
    """Run a command in this process, which is a fork, and end it."""
    status = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # As an interpreter that starts would have it: without the folder of this file.
        sys.path[0:1] = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
        _run(name, arguments)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - told as an interpreter would
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(name: str, arguments: list[str]) -> None:
    if name == "elsa-edge":
        from elsa_edge.cli import main

        sys.argv = [name, *arguments]
        main()
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, "")
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _serve(sys.argv[1])
