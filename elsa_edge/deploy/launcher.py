"""The command that each release carries: elsa-edge with the packages that the release was verified with. Pure.

current/elsa-edge run current/bundle          elsa-edge itself
current/elsa-edge python app.py               an application, with the same interpreter and packages
current/elsa-edge verify current/bundle       on a device without Python: the native client's verifier

Where the release is in service and was never marked good, because the device lost power in its first runs, the command
first ends that deployment: it makes the first runs, and marks the release good or returns to the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from elsa_edge.deploy.agent import ABANDONED_S, functions_of

__all__ = ["launcher", "native_launcher"]

_TRIAL_S: Final = 2


def launcher(python: str, wheels: Sequence[str]) -> str:
    """Return the shell script `elsa-edge` of a release.

    Args:
        python: The interpreter on the device.
        wheels: Hashes of the wheels in whose folders packages are found; empty for what is installed there.
    """
    path = ":".join(f"$root/python/{wheel}" for wheel in wheels)
    packages = f'PYTHONPATH="{path}${{PYTHONPATH:+:$PYTHONPATH}}"\nexport PYTHONPATH\n' if wheels else ""
    interpreter = _quoted(python)
    settings = (
        "VERB=prove ROOT=$root RELEASE=$release TOKEN=itself-$$ TAKE_FROM=\n"
        f"TRIAL_S={_TRIAL_S} ABANDONED_S={ABANDONED_S}\n"
        "OWNER='the device itself, which makes first runs,'\n"
    )
    return (
        "#!/bin/sh\n"
        "# elsa-edge with the packages that this release was verified with.\n"
        'here="$(cd "$(dirname "$0")" && pwd -P)"\n'
        'root="${here%/releases/*}"\n'
        'release="${here##*/}"\n'
        'in_service() { [ "$(readlink "$root/current")" = "releases/$release" ]; }\n'
        'unproved() { [ -f "$here/verified" ] && { [ ! -f "$here/good" ] || [ -f "$here/.before.yaml" ]; }; }\n'
        'if [ -z "$ELSA_EDGE_TRIAL" ] && in_service && unproved; then\n'
        f"(\n{settings}{functions_of('prove')}) > /dev/null\n"
        "  if ! in_service; then\n"
        '    [ -x "$root/current/elsa-edge" ] && exec "$root/current/elsa-edge" "$@"\n'
        "    echo 'The first runs of the release failed, and there was none before it.' >&2\n"
        "    exit 1\n"
        "  fi\n"
        "fi\n"
        f"{packages}"
        'if [ "$1" = python ]; then\n'
        "  shift\n"
        f'  exec {interpreter} "$@"\n'
        "fi\n"
        f"exec {interpreter} -c 'from elsa_edge.cli import main; main()' \"$@\"\n"
    )


def native_launcher(tools: Sequence[str]) -> str:
    """Return the shell script `elsa-edge` of a release on a device without Python.

    Args:
        tools: Hashes of the program, of ONNX Runtime's library, and of the kernels where they came along.
    """
    program, runtime, kernels = (*(f'"$root/blobs/{name}"' for name in tools), "-")[:3]
    return (
        "#!/bin/sh\n"
        "# The native client, with the libraries that this release was verified with.\n"
        'here="$(cd "$(dirname "$0")" && pwd -P)"\n'
        'root="${here%/releases/*}"\n'
        "# Where it unpacks weights for a moment: a phone has no /tmp.\n"
        'TMPDIR="$root/incoming"\n'
        "export TMPDIR\n"
        f'exec {program} {runtime} {kernels} "$@"\n'
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
