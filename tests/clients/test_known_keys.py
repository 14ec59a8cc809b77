"""What Python writes, the clients that refuse unknown keys must know: a key of ours that one has not would stop it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from elsa_edge.bundle import manifest
from elsa_edge.profiles import schema

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
SOURCES = {
    "java": CLIENTS / "android/library/src/main/java/elsa/edge",
    "web": CLIENTS / "web/src",
}  # fmt: skip
READ: tuple[type[BaseModel], ...] = (
    manifest.Manifest, manifest.Variant, manifest.LevelEntry, manifest.FileEntry, manifest.InputOutput,
    schema.DeviceProfile, schema.QoS, schema.Switching, schema.MeasuredLevel,
)  # fmt: skip


@pytest.mark.parametrize("client", SOURCES)
def test_every_key_that_is_written_is_known(client):
    text = "\n".join(
        path.read_text() for path in sorted(SOURCES[client].rglob("*")) if path.suffix in {".java", ".ts"}
    )
    words = set(re.findall(r"\b[a-z_0-9]+\b", text))

    unknown = [f"{model.__name__}.{key}" for model in READ for key in model.model_fields if key not in words]

    assert unknown == []
