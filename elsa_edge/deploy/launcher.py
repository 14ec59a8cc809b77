"""The command that each release carries: elsa-edge with the packages that the release was verified with. Pure."""

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
    packages = f'PYTHONPATH="{path}"\nexport PYTHONPATH\n' if wheels else ""
    return (
        "#!/bin/sh\n"
        "# elsa-edge with the packages that this release was verified with.\n"
        'here="$(cd "$(dirname "$0")" && pwd -P)"\n'
        'root="${here%/releases/*}"\n'
        f"{packages}"
        f"exec {_quoted(python)} -c 'from elsa_edge.cli import main; main()' \"$@\"\n"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
