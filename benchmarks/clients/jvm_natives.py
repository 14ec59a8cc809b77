"""Make the AAR of ONNX Runtime run on this machine's JVM: `jvm_natives.py AAR LIBONNXRUNTIME FOLDER`. Tests only.

The classes of the AAR are Android's own, and the JNI library in it is compiled for x86-64 too, against Android's C
library. So its needs are renamed to glibc's, what it asks of a version of Android's is made optional, one function of
Android's neural networks is stubbed, and the Linux build of the same release of ONNX Runtime takes the place of
Android's. Needs patchelf and a C compiler.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

JNI = "libonnxruntime4j_jni.so"
# Android's C library -> glibc's.
NEEDS = {"libc.so": "libc.so.6", "libdl.so": "libdl.so.2", "libm.so": "libm.so.6"}
STUB = """
void *OrtSessionOptionsAppendExecutionProvider_Nnapi(void *options, unsigned flags) { return 0; }
"""
# Sections of an ELF file: which version each symbol has, and which versions are needed.
SYMBOL_VERSIONS, NEEDED_VERSIONS = 0x6FFFFFFF, 0x6FFFFFFE
ANY_VERSION, WEAK = 1, 2


def run(*command: str | Path) -> str:
    """Run a tool; stop with what it says when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def forgive_versions(library: Path) -> None:
    """Let every symbol be of any version, and every needed version be absent: glibc has none called LIBC."""
    data = bytearray(library.read_bytes())
    sections, entry_bytes, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    for place in range(sections, sections + entry_bytes * count, entry_bytes):
        _, kind, _, _, offset, size, _, records = struct.unpack_from("<IIQQQQII", data, place)
        if kind == SYMBOL_VERSIONS:
            for symbol in range(offset, offset + size, 2):
                version = struct.unpack_from("<H", data, symbol)[0]
                struct.pack_into("<H", data, symbol, min(version, ANY_VERSION))
        if kind == NEEDED_VERSIONS:
            make_weak(data, offset, records)
    library.write_bytes(data)


def make_weak(data: bytearray, need: int, libraries: int) -> None:
    """Mark the versions that are needed of each library as weak."""
    for _ in range(libraries):
        _, versions, _, first, step = struct.unpack_from("<HHIII", data, need)
        version = need + first
        for _ in range(versions):
            flags = struct.unpack_from("<H", data, version + 4)[0]
            struct.pack_into("<H", data, version + 4, flags | WEAK)
            version += struct.unpack_from("<I", data, version + 12)[0]
        need += step


def main(aar: Path, runtime: Path, folder: Path) -> None:
    """Write classes.jar and two libraries into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(aar) as archive:
        for inside, name in (("classes.jar", "classes.jar"), (f"jni/x86_64/{JNI}", JNI)):
            (folder / name).write_bytes(archive.read(inside))
    shutil.copyfile(runtime, folder / "libonnxruntime.so")
    (folder / "stub.c").write_text(STUB)
    run("cc", "-shared", "-fPIC", "-o", folder / "libstub.so", folder / "stub.c")
    jni = folder / JNI
    run("patchelf", "--set-soname", "libonnxruntime.so", folder / "libonnxruntime.so")
    # One change a call: patchelf 0.14 stumbles over several.
    for old, new in NEEDS.items():
        run("patchelf", "--replace-needed", old, new, jni)
    run("patchelf", "--add-needed", "libstub.so", jni)
    run("patchelf", "--set-rpath", "$ORIGIN", jni)
    # Afterwards: patchelf moves the records.
    forgive_versions(jni)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
