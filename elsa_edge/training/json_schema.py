"""The JSON Schema of training files, for editors, and the reference page of their keys, both from the model itself.

`python -m elsa_edge.training.json_schema` writes `schema.json` beside this file and `docs/training-file.md`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from elsa_edge.files import write_bytes
from elsa_edge.training.config import OptimizerConfig, ScheduleConfig, TrainConfig

__all__ = ["PAGE_FILE", "SCHEMA_FILE", "json_schema", "reference_page"]

SCHEMA_FILE: Final = Path(__file__).with_name("schema.json")
PAGE_FILE: Final = Path(__file__).parents[2] / "docs" / "training-file.md"

_INTRODUCTION: Final = """# The training file

What `elsa-edge train CONFIG.yaml -o OUT.safetensors` reads; [training.md](training.md) says what the words mean. A key
that does not exist, is given twice or has a wrong value is answered with its line and the nearest key. Paths are
relative to the file. Editors that know the YAML language server find the keys through a first line such as

    # yaml-language-server: $schema=../elsa_edge/training/schema.json

This page and that schema are written by `python -m elsa_edge.training.json_schema`.
"""


def json_schema() -> str:
    """Return the schema as the text of its file; a method may be its name alone."""
    schema = TrainConfig.model_json_schema()
    method = schema["properties"]["method"]
    described = {key: method.pop(key) for key in ("description", "default") if key in method}
    schema["properties"]["method"] = {"anyOf": [{"type": "string"}, method], **described}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def reference_page() -> str:
    """Return the reference page as the text of its file."""
    parts = [_INTRODUCTION, _table(TrainConfig)]
    for name, model in (("optimizer", OptimizerConfig), ("schedule", ScheduleConfig)):
        summary = (model.__doc__ or "").splitlines()[0]
        parts.append(f"## `{name}`\n\n{summary}\n\n{_table(model)}")
    return "\n".join(parts)


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _shown(field.get_default())
        rows.append(f"| `{name}` | {_kind(properties[name])} | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"`{value.name}`" if hasattr(value, "name") else ""
    if value is None or value == ():
        return "-"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _kind(schema: dict[str, Any]) -> str:
    """Return what a value may be, in words."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "$ref" in schema or "allOf" in schema:
        return "mapping"
    kind = {
        "array": "list", "integer": "whole number", "number": "number", "boolean": "true or false", "string": "text",
    }[schema["type"]]  # fmt: skip
    if schema.get("format") == "path":
        kind = "path"
    if schema["type"] == "array":
        kind = f"list of {_kind(schema['items'])}s"
    limits = {
        "minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
    }  # fmt: skip
    told = [f"{words} {schema[key]:g}" for key, words in limits.items() if key in schema]
    return " ".join([kind, *([", ".join(told)] if told else [])])


if __name__ == "__main__":
    write_bytes(SCHEMA_FILE, json_schema().encode())
    write_bytes(PAGE_FILE, reference_page().encode())
