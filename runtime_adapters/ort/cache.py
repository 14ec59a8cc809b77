"""Files derived on the device: a model optimised once by ONNX Runtime, then mapped into memory at every start.

    CACHE/ort-KEY/{model.onnx, model.bin, stamp.json}      KEY = hash(source SHA-256, runtime, CPU, settings)

An entry is written beside its place and renamed, carries the CRC-32 of each file, and is rebuilt when one differs.
Entries that were not used for longest are removed to keep the folder below its limit. Whatever fails here, the model
runs without the cache; the reason is kept.

Why this form (ONNX Runtime 1.31.1, four levels, anonymous MB after running at all of them):

    network        plain dense   If, no cache   .ort mapped   external data   external + prepacked (chosen)
    ResNet-18             53.8          205.6          15.5            16.3             8.5
    MobileNetV2           26.5           94.3          35.8            38.2            18.5
    MLP 1024              8.6            58.9          30.1            30.2             1.7
    LSTM 2x256            10.9           73.8          36.7            36.6             2.5
    Transformer            5.8           43.2          15.8            16.8             4.8

Prepacking makes a private copy of each matrix in each branch; switched off it costs 1.25x (LSTM) to 1.7x
(Transformer) in latency, so the packed matrices are stored in the file and mapped like the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elsa_edge.children import run_child
from elsa_edge.errors import ElsaError
from elsa_edge.files import atomic_directory
from elsa_edge.plugins import NO_CACHE, CacheState, CacheUse
from elsa_edge.runtime_adapters.ort import optimise

__all__ = ["OLDEST_RUNTIME", "CachedModel", "cached_model", "cpu_identity"]

# Earlier ones save an If whose file does not load again ("initializer name is not unique").
OLDEST_RUNTIME: Final = (1, 31, 1)
_STAMP: Final = "stamp.json"
_PREFIX: Final = "ort-"
_CHUNK_BYTES: Final = 1 << 20
_LONGEST_OPTIMISE_S: Final = 600


@dataclass(frozen=True, slots=True)
class CachedModel:
    """What became of the wish for a cached model.

    Attributes:
        path: The optimised model, or None when there is none.
        state: Whether it was used, built or is off, and why.
    """

    path: Path | None
    state: CacheState


def cpu_identity(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what tells one kind of CPU from another: optimised files fit only the instructions they were made for."""
    telling = (
        "model name",
        "flags",
        "Features",
        "CPU implementer",
        "CPU architecture",
        "CPU variant",
        "CPU part",
    )
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts = {line.strip() for line in lines if line.split(":")[0].strip() in telling}
    return "\n".join([platform.machine(), *sorted(facts)])


def cached_model(
    source: Path, source_sha256: str, cache: Path | None, limit_bytes: int, settings: Mapping[str, Any]
) -> CachedModel:
    """Return the optimised form of `source`, making it when it is missing, stale or damaged.

    Args:
        source: The model of the bundle.
        source_sha256: Its hash, from the manifest.
        cache: Folder of the cache, or None for no cache.
        limit_bytes: Largest size of that folder.
        settings: What `optimise.optimise` takes; part of the key.
    """
    import onnxruntime as ort

    if cache is None or limit_bytes <= 0:
        return CachedModel(None, NO_CACHE)
    if _version(ort.__version__) < OLDEST_RUNTIME:
        wanted = ".".join(map(str, OLDEST_RUNTIME))
        return _off(f"ONNX Runtime {ort.__version__} is too old, {wanted} is needed")
    facts = [source_sha256, ort.__version__, cpu_identity(), json.dumps(dict(settings), sort_keys=True)]
    key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]
    entry = cache / f"{_PREFIX}{key}"
    if _is_whole(entry):
        _touch(entry)
        return CachedModel(entry / optimise.MODEL_NAME, CacheState(CacheUse.USED))
    try:
        _build(source, entry, dict(settings))
    except ElsaError as error:
        return _off(error.problem)
    except (OSError, ValueError, subprocess.SubprocessError, RuntimeError) as error:
        return _off(f"{type(error).__name__} {str(error)[:200]}")
    if _size_bytes(entry) > limit_bytes:
        shutil.rmtree(entry, ignore_errors=True)
        return _off(f"the optimised model is larger than {limit_bytes} bytes (runtime.cache_mb)")
    _evict(cache, entry, limit_bytes)
    return CachedModel(entry / optimise.MODEL_NAME, CacheState(CacheUse.BUILT))


def _off(reason: str) -> CachedModel:
    return CachedModel(None, CacheState(CacheUse.OFF, reason))


def _version(text: str) -> tuple[int, ...]:
    digits = (part for part in text.split("+", maxsplit=1)[0].split("."))
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in digits)


def _build(source: Path, entry: Path, settings: dict[str, Any]) -> None:
    if entry.exists() and not (entry / _STAMP).is_file():
        shutil.rmtree(entry, ignore_errors=True)
    with atomic_directory(entry, may_replace=_STAMP) as folder:
        if sys.executable:
            arguments = [str(source), str(folder), json.dumps(settings)]
            done = run_child(optimise.__name__, arguments, _LONGEST_OPTIMISE_S)
            if done.returncode != 0:
                reason = done.stderr.strip().splitlines()
                raise ElsaError(
                    f"the optimiser failed ({reason[-1] if reason else f'signal {-done.returncode}'})"
                )
        else:  # an embedded interpreter has no program to start
            optimise.optimise(source, folder, settings)
        files = {path.name: [path.stat().st_size, _crc32(path)] for path in sorted(folder.iterdir())}
        if optimise.MODEL_NAME not in files:
            raise ElsaError("the optimiser wrote no model")
        (folder / _STAMP).write_text(json.dumps(files), encoding="utf-8")


def _is_whole(entry: Path) -> bool:
    """Return whether an entry holds exactly the files of its stamp, byte for byte."""
    try:
        files = json.loads((entry / _STAMP).read_text(encoding="utf-8"))
        if {path.name for path in entry.iterdir()} != {_STAMP, *files}:
            return False
        return optimise.MODEL_NAME in files and all(
            (entry / name).stat().st_size == size and _crc32(entry / name) == crc
            for name, (size, crc) in files.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return value


def _touch(entry: Path) -> None:
    try:
        os.utime(entry / _STAMP)
    except OSError:
        return  # a read-only cache still serves; only its order of removal ages


def _size_bytes(entry: Path) -> int:
    return sum(path.stat().st_size for path in entry.iterdir() if path.is_file())


def _evict(cache: Path, newest: Path, limit_bytes: int) -> None:
    """Remove the entries unused for longest until the folder fits. Mapped files live on until their session ends."""
    total = _size_bytes(newest)
    for path in sorted(_others(cache, newest), key=_last_use_ns, reverse=True):
        try:
            total += _size_bytes(path)
        except OSError:
            continue  # another process has just removed it
        if total > limit_bytes:
            shutil.rmtree(path, ignore_errors=True)
            total = limit_bytes  # everything older goes too
    for path in cache.glob(f".{_PREFIX}*.tmp"):
        if _last_use_ns(path) < time.time_ns() - _LONGEST_OPTIMISE_S * 10**9:
            shutil.rmtree(path, ignore_errors=True)  # left by a process that was killed


def _others(cache: Path, newest: Path) -> list[Path]:
    return [path for path in cache.glob(f"{_PREFIX}*") if path != newest and path.is_dir()]


def _last_use_ns(path: Path) -> int:
    """Return when an entry was last used; 0 when it is broken or gone, so that it goes first."""
    for candidate in (path / _STAMP, path):
        try:
            return candidate.stat().st_mtime_ns
        except OSError:
            continue
    return 0
