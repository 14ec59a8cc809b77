"""Names of the custom operators that nested layers become."""

from __future__ import annotations

from typing import Final

__all__ = ["DOMAIN"]

DOMAIN: Final = "elsa.nested"
