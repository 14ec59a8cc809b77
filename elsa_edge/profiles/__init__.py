"""Device profiles: what a device is, how networks run on it, and what must hold. One YAML file a device."""

from __future__ import annotations

from elsa_edge.profiles.editing import update_profile
from elsa_edge.profiles.loader import added_folder, contributed, find_problems, load_profile, profile_names
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.profiles.writer import render_profile, save_profile

__all__ = [
    "DeviceProfile",
    "added_folder",
    "contributed",
    "find_problems",
    "load_profile",
    "profile_names",
    "render_profile",
    "save_profile",
    "update_profile",
]
