"""The JSON Schema of profiles, for editors. `python -m elsa_edge.profiles.json_schema` writes `schema.json`."""

from __future__ import annotations

import json

from elsa_edge.files import write_bytes
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.profiles.writer import SCHEMA_FILE

__all__ = ["json_schema"]


def json_schema() -> str:
    """Return the schema as JSON text."""
    return json.dumps(DeviceProfile.model_json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    write_bytes(SCHEMA_FILE, json_schema().encode())
