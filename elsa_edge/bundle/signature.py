"""Who made a bundle: an Ed25519 signature of its manifest, which holds the hash of every other file.

    manifest.json.sig = ssh-keygen -Y sign -n elsa-edge-bundle manifest.json          in the form of OpenSSH (SSHSIG)

OpenSSH, because every device that is reached by ssh has it, because people have keys for it (also on hardware tokens
and in agents), and because a signature can then be checked by hand without elsa-edge. The namespace keeps out
signatures that were made for something else. A counter in the signed manifest rises with every release, so that an
old bundle, signed as it is, does not come back.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elsa_edge.bundle.manifest import FILE_NAME, SIGNATURE_NAME
from elsa_edge.errors import BundleError, RuntimeUnavailableError, UsageError
from elsa_edge.files import scratch_folder, write_bytes

__all__ = ["Accepted", "check_counter", "check_signature", "read_keys", "sign_bundle"]

_NAMESPACE: Final = "elsa-edge-bundle"
_SIGNER: Final = "elsa-edge"
_KEY: Final = re.compile(r"(ssh-ed25519|sk-ssh-ed25519@openssh\.com) [A-Za-z0-9+/]+={0,3}(?: [^\n]*)?")
_LARGEST_BYTES: Final = 1 << 16
_LONGEST_S: Final = 60


@dataclass(frozen=True, slots=True)
class Accepted:
    """The newest bundle that was accepted: its counter and its identity."""

    counter: int
    identity: str

    @classmethod
    def parse(cls, text: str) -> Accepted | None:
        """Read `COUNTER IDENTITY`; None for an empty text.

        Raises:
            BundleError: When it is neither: a damaged counter must not let anything pass.
        """
        words = text.split()
        if not words:
            return None
        if len(words) != 2 or not words[0].isdecimal():
            raise BundleError("The counter of accepted bundles is damaged", found=text[:80])
        return cls(int(words[0]), words[1])

    def render(self) -> str:
        """Return it as `parse` reads it."""
        return f"{self.counter} {self.identity}\n"


def read_keys(keys: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return public keys, each given as its line or as a file of such lines.

    Raises:
        UsageError: When one is neither, is not Ed25519, or there is none.
    """
    found: list[str] = []
    for key in keys:
        text = os.fspath(key).strip()
        if not text.startswith(("ssh-", "sk-ssh-", "ecdsa-")):
            try:
                text = Path(text).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(
                    f"The public key {text} cannot be read", fix="Give KEY.pub or its line"
                ) from error
        found += [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in found:
        if not _KEY.fullmatch(line):
            raise UsageError(
                "This is no public key to trust",
                expected="ssh-ed25519 AAAA...",
                found=line[:40],
                fix="ssh-keygen -t ed25519 makes a pair",
            )
    if not found:
        raise UsageError("There is no key to trust", expected="at least one line ssh-ed25519 AAAA...")
    return tuple(dict.fromkeys(found))


def sign_bundle(folder: Path, key: Path) -> None:
    """Sign the manifest of a bundle.

    Args:
        folder: The bundle.
        key: A private Ed25519 key, or the public half of one that the ssh agent holds.

    Raises:
        UsageError: When OpenSSH does not sign with it.
    """
    if not key.is_file():
        raise UsageError(f"There is no key at {key}", fix="ssh-keygen -t ed25519 -f FILE makes one")
    with scratch_folder() as scratch:
        copy = Path(scratch, FILE_NAME)
        shutil.copyfile(folder / FILE_NAME, copy)
        command = [_keygen(), "-Y", "sign", "-q", "-f", str(key), "-n", _NAMESPACE, str(copy)]
        done = _run(command, None)
        signature = Path(scratch, SIGNATURE_NAME)
        if done.returncode or not signature.is_file():
            raise UsageError(f"OpenSSH does not sign with {key} ({_last(done.stderr)})")
        content = signature.read_bytes()
    write_bytes(folder / SIGNATURE_NAME, content)


def check_signature(folder: Path, keys: Sequence[str | os.PathLike[str]]) -> str:
    """Return the identity of a bundle (SHA-256 of its manifest) after one of the keys was found to have signed it.

    The manifest is read once, and what was read is what is checked.

    Raises:
        BundleError: When it is not signed, or by none of the keys.
        RuntimeUnavailableError: When OpenSSH is not installed. Nothing is trusted then.
    """
    trusted = read_keys(keys)
    path = folder / SIGNATURE_NAME
    if path.is_symlink() or not path.is_file():
        raise BundleError(
            f"{folder} is not signed", expected=SIGNATURE_NAME, fix="elsa-edge build --sign KEY"
        )
    if path.stat().st_size > _LARGEST_BYTES:
        raise BundleError(f"{path} is too large for a signature")
    manifest = (folder / FILE_NAME).read_bytes()
    with scratch_folder() as scratch:
        allowed, signature = Path(scratch, "allowed"), Path(scratch, "signature")
        allowed.write_text("".join(f"{_SIGNER} {line}\n" for line in trusted), encoding="utf-8")
        shutil.copyfile(path, signature)
        command = [
            _keygen(), "-Y", "verify", "-f", str(allowed), "-I", _SIGNER, "-n", _NAMESPACE, "-s", str(signature),
        ]  # fmt: skip
        done = _run(command, manifest)
    if done.returncode:
        raise BundleError(
            f"{folder} was not signed by a trusted key, or was changed afterwards",
            found=_last(done.stderr) or None,
            expected=f"a signature by one of {len(trusted)} trusted key{'s' if len(trusted) > 1 else ''}",
        )
    import hashlib

    return hashlib.sha256(manifest).hexdigest()


def check_counter(counter: int | None, identity: str, accepted: Accepted | None) -> None:
    """Refuse a signed bundle that is older than what was accepted before, or another one with the same counter.

    Raises:
        BundleError: When it has no counter, a lower one, or the same one with another content.
    """
    if counter is None:
        raise BundleError(
            "The bundle has no counter, so it could be an old one", fix="elsa-edge build --sign KEY"
        )
    if accepted is None or counter > accepted.counter:
        return
    if counter < accepted.counter:
        raise BundleError(
            "The bundle is older than one that was accepted before",
            expected=f"a counter above {accepted.counter}",
            found=counter,
            fix="To return to an earlier release: elsa-edge deploy --rollback",
        )
    if identity != accepted.identity:
        raise BundleError(
            "Another bundle with the same counter was accepted before",
            found=counter,
            fix="Build it again: every release needs a counter of its own",
        )


def _keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        raise RuntimeUnavailableError(
            "Signatures are made and checked by OpenSSH, which is not installed here; nothing is trusted without it",
            fix="Install it (Debian: apt-get install openssh-client)",
        )
    return found


def _run(command: list[str], content: bytes | None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - OpenSSH's own program with our own words
            command,
            input=content,
            stdin=subprocess.DEVNULL if content is None else None,
            capture_output=True,
            check=False,
            timeout=_LONGEST_S,
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError("OpenSSH did not answer; a key with a passphrase belongs into ssh-agent") from error


def _last(words: bytes) -> str:
    lines = [line.strip() for line in words.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
