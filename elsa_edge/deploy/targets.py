"""Where a device is: `ssh://[user@]host[:port]`, `adb:SERIAL` or `local:`, taken apart. Nothing is contacted here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from elsa_edge.errors import UsageError

__all__ = ["Target", "parse_target"]

_FORMS: Final = ("ssh://[USER@]HOST[:PORT]", "adb:SERIAL", "local:")
# A leading dash would be read as an option by ssh and adb.
_WORD: Final = re.compile(r"[A-Za-z0-9_.:%\[\]][A-Za-z0-9_.:%\[\]-]*")


@dataclass(frozen=True, slots=True)
class Target:
    """A device's address.

    Attributes:
        kind: The transport.
        host: Host name or alias of the user's ssh configuration, or serial number; empty for `local`.
        user: Who logs in; None leaves it to ssh's configuration.
        port: None leaves it to ssh's configuration.
    """

    kind: Literal["ssh", "adb", "local"]
    host: str = ""
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        if self.kind != "ssh":
            return f"{self.kind}:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.user + '@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


def parse_target(text: str) -> Target:
    """Return the target that a text names.

    Raises:
        UsageError: When it is in none of the forms.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "local" and not rest:
        return Target("local")
    if colon and kind == "adb" and _WORD.fullmatch(rest):
        return Target("adb", rest)
    if colon and kind == "ssh" and rest.startswith("//"):
        found = _parse_ssh(text)
        if found is not None:
            return found
    raise UsageError("This is not the address of a device", found=text, allowed=_FORMS)


def _parse_ssh(text: str) -> Target | None:
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        return None
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.password)
    words = [word for word in (parts.hostname, parts.username) if word is not None]
    if not plain or not parts.hostname or not all(_WORD.fullmatch(word) for word in words):
        return None
    # urlsplit lowers host names; an alias of ssh's configuration may have capitals
    host = parts.netloc.rpartition("@")[2]
    host = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
    return Target("ssh", host, parts.username, port)
