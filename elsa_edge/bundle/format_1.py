"""Manifests of format 1, as written until version 0.1: read as what they would say today. The file stays as it is.

    options (machine and people mixed, a free dictionary)  ->  instructions (typed)  +  notes

A reader needs only `upgrade`; nothing writes format 1 any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from elsa_edge.errors import BundleError

__all__ = ["upgrade"]

# kind of format 1 -> kind of format 2, and the options that are instructions.
_INSTRUCTIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "selector": ("selector", ()),
    "switch": ("switch", ()),
    "levels": ("levels", ()),
    "nested": ("nested", ("nested_layers",)),
    "files": ("tflite-files", ("batch", "stateful", "inputs", "outputs")),
    "signatures": ("tflite-signatures", ("batch", "stateful", "inputs", "outputs")),
}
# Said by the ladder (level_count) or by the kind (custom_ops) today.
_SAID_ELSEWHERE: Final = ("kind", "custom_ops", "level_count")
_OUR_RUNTIMES: Final = ("onnxruntime", "litert")
# What came with format 2: a manifest of format 1 that has it is a mixture, and must not be read as either.
_NEWER: Final = frozenset({"class_axes", "noise", "counter"})
_NEWER_IN_VARIANTS: Final = frozenset({"instructions", "notes"})


def upgrade(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a format 1 manifest as those of format 2. Anything odd is left for the reader to refuse.

    Raises:
        BundleError: When options are no object, or say that there is another number of levels than in the ladder, or
            when keys of format 2 stand between those of format 1.
    """
    _refuse_newer("The manifest", manifest, _NEWER)
    variants, ladder = manifest.get("variants"), manifest.get("ladder")
    if not isinstance(variants, list) or not isinstance(ladder, list):
        return {**manifest, "format": 2}
    levels = len(ladder)
    return {**manifest, "format": 2, "variants": [_variant(variant, levels) for variant in variants]}


def _variant(variant: Any, levels: int) -> Any:
    if not isinstance(variant, Mapping):
        return variant
    _refuse_newer(f"The variant {variant.get('name')}", variant, _NEWER_IN_VARIANTS)
    options = variant.get("options", {})
    if not isinstance(options, Mapping):
        raise BundleError(
            f"The options of the variant {variant.get('name')} are not readable",
            expected="a JSON object",
            found=type(options).__name__,
        )
    told = options.get("level_count", levels)
    if told != levels:
        raise BundleError(
            f"The variant {variant.get('name')} has another number of levels than the bundle",
            expected=levels,
            found=told,
        )
    rest = {key: value for key, value in variant.items() if key != "options"}
    if variant.get("runtime") not in _OUR_RUNTIMES:
        name = str(variant.get("runtime"))
        return rest | {"instructions": {"kind": f"other:{name}", "settings": options}}
    kind = options.get("kind")
    new_kind, keys = _INSTRUCTIONS.get(kind, (kind, ())) if isinstance(kind, str) else (kind, ())
    instructions = {"kind": new_kind} | {key: options[key] for key in keys if key in options}
    files = variant.get("files")
    if new_kind == "nested" and isinstance(files, Mapping):
        instructions["choices"] = [role for role in files if role != "data"]
    notes = {key: value for key, value in options.items() if key not in (*_SAID_ELSEWHERE, *keys)}
    return rest | {"instructions": instructions, "notes": notes}


def _refuse_newer(what: str, found: Mapping[str, Any], newer: frozenset[str]) -> None:
    """Refuse keys that format 1 does not have; what no format has, the reader refuses."""
    mixed = sorted(newer & set(found))
    if mixed:
        raise BundleError(
            f"{what} says format 1 and has keys of format 2",
            found=", ".join(mixed),
            fix="Build the bundle again",
        )
