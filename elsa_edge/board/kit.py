"""A kit: the networks that are compared on a board, as a folder of bundles. The wheel carries a small one.

KIT/NAME/manifest.json ...          a bundle with every variant that is compared
KIT/NAME.ncnn/net.param, net.bin    the dense network for ncnn, where there is one
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elsa_edge.bundle.manifest import FILE_NAME
from elsa_edge.errors import UsageError
from elsa_edge.files import scratch_folder

__all__ = ["KitNet", "kit_nets", "own_kit"]

_OWN: Final = Path(__file__).with_name("kit.zip")
_NCNN: Final = ("net.param", "net.bin")


@dataclass(frozen=True, slots=True)
class KitNet:
    """One network of a kit.

    Attributes:
        name: What it is called.
        bundle: Its bundle.
        ncnn: Folder with what ncnn takes; None where there is none.
    """

    name: str
    bundle: Path
    ncnn: Path | None


def kit_nets(folder: Path) -> list[KitNet]:
    """Return the networks of a kit, by name; a bundle itself is a kit of one.

    Raises:
        UsageError: When there is no bundle in it.
    """
    places = [folder] if (folder / FILE_NAME).is_file() else sorted(folder.glob("*/"))
    bundles = [place for place in places if (place / FILE_NAME).is_file()]
    if not bundles:
        raise UsageError(f"{folder} is no kit", expected="a folder of bundles, or a bundle")
    return [KitNet(place.resolve().name, place, _for_ncnn(place)) for place in bundles]


def _for_ncnn(bundle: Path) -> Path | None:
    place = bundle.with_name(f"{bundle.name}.ncnn")
    return place if all((place / name).is_file() for name in _NCNN) else None


@contextmanager
def own_kit() -> Iterator[Path]:
    """Yield the kit that the wheel carries, unpacked until the block ends.

    Raises:
        UsageError: When this installation has none.
    """
    if not _OWN.is_file():
        raise UsageError("This installation of elsa-edge carries no kit", fix="Give one: --kit DIR")
    with scratch_folder() as scratch:
        with zipfile.ZipFile(_OWN) as archive:
            archive.extractall(scratch)
        yield Path(scratch)
