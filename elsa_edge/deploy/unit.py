"""A systemd unit for an application on a device: started at boot, watched, restarted. Pure.

The application says that it lives after each run (`elsa_edge.telemetry.systemd`); one that hangs, in the runtime or
in its own code, is killed and started again, and one that dies again and again is left alone for people to look at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from elsa_edge.errors import UsageError

__all__ = ["service_unit"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def service_unit(device: str, store: str, command: Sequence[str], *, user: str, watchdog_s: int) -> str:
    """Return the text of a unit.

    Args:
        device: The device's name, for people.
        store: The store's absolute folder on the device.
        command: The application: a script and its arguments, for the release's Python.
        user: Who runs it there.
        watchdog_s: Seconds without a sign of life after which it is restarted; 0 for no watchdog.

    Raises:
        UsageError: When a word cannot be written in a unit.
    """
    # Through a shell: systemd itself takes no quotes in the path of a program.
    words = ["/bin/sh", f"{store}/current/elsa-edge", "python", *command]
    if not command:
        raise UsageError("Say what is to run there", expected="a script, and its arguments")
    if strange := [word for word in (*words, user) if "\n" in word or "\0" in word]:
        raise UsageError("A unit has no line breaks in its words", found=repr(strange[0]))
    if not command[0].startswith("/"):
        raise UsageError(
            "systemd starts in the folder /: say where the script lies on the device",
            expected="an absolute path, such as /home/pi/camera.py", found=command[0],
        )  # fmt: skip
    watched = (
        ["Type=notify", "NotifyAccess=all", f"WatchdogSec={watchdog_s}"] if watchdog_s else ["Type=exec"]
    )
    lines = [
        "[Unit]", f"Description=elsa-edge application on {device}",
        "# Five failures in two minutes are no accident: then it stays down, and `systemctl status` says why.",
        "StartLimitIntervalSec=120", "StartLimitBurst=5",
        "", "[Service]", *watched, f"User={user}",
        f"ExecStart={' '.join(map(_word, words))}",
        "Restart=always", "RestartSec=2", "TimeoutStartSec=120", "TimeoutStopSec=15", "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "", "[Install]", "WantedBy=multi-user.target",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """Quote a word for ExecStart=: systemd replaces % and $, and takes C escapes in quotes (systemd.service(5))."""
    text = text.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
