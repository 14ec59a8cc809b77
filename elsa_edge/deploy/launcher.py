"""The command that each release carries: elsa-edge with the packages that the release was verified with. Pure.

current/elsa-edge run current/bundle          elsa-edge itself
current/elsa-edge python app.py               an application, with the same interpreter and packages
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["launcher"]


def launcher(python: str, wheels: Sequence[str]) -> str:
    """Return the shell script `elsa-edge` of a release.

    Args:
        python: The interpreter on the device.
        wheels: Hashes of the wheels in whose folders packages are found; empty for what is installed there.
    """
    path = ":".join(f"$root/python/{wheel}" for wheel in wheels)
    packages = f'PYTHONPATH="{path}${{PYTHONPATH:+:$PYTHONPATH}}"\nexport PYTHONPATH\n' if wheels else ""
    interpreter = _quoted(python)
    return (
        "#!/bin/sh\n"
        "# elsa-edge with the packages that this release was verified with.\n"
        'here="$(cd "$(dirname "$0")" && pwd -P)"\n'
        'root="${here%/releases/*}"\n'
        f"{packages}"
        'if [ "$1" = python ]; then\n'
        "  shift\n"
        f'  exec {interpreter} "$@"\n'
        "fi\n"
        f"exec {interpreter} -c 'from elsa_edge.cli import main; main()' \"$@\"\n"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
