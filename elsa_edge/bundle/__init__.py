"""The bundle, the directory that is deployed: manifest, variants, golden inputs and outputs, hashes."""

from elsa_edge.bundle.golden import Golden, Tolerance, largest_difference
from elsa_edge.bundle.manifest import FileEntry, InputOutput, LevelEntry, Manifest, Variant
from elsa_edge.bundle.reader import Bundle, open_bundle
from elsa_edge.bundle.writer import BundleWriter, require_place, write_bundle

__all__ = [
    "Bundle",
    "BundleWriter",
    "FileEntry",
    "Golden",
    "InputOutput",
    "LevelEntry",
    "Manifest",
    "Tolerance",
    "Variant",
    "largest_difference",
    "open_bundle",
    "require_place",
    "write_bundle",
]
