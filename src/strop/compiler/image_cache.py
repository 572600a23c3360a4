"""Keeps whole images between runs, so that a model compiled before is mapped without being read, lowered or packed.

An image is found by a key: everything that decides its bytes, hashed. It is a file as `strop.loader.image` describes
it, written whole and read only where it is this user's own; whatever is wrong with one is a warning and a miss.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import strop
from strop.compiler.cache_folder import check_own, count, limit_bytes, mark_used, trim
from strop.compiler.image import image_size, write_image
from strop.compiler.machine_code import toolchain
from strop.loader.image import Image, open_image
from strop.machine import cache_directory

_log = logging.getLogger(__name__)

FOLDER: Final = "images"
_DAY: Final = 86_400.0  # marking an image as used has its weights hashed again, so it is done once a day
_ROOMS: Final = ("compiler", "passes", "loader", "model")


def image_key(model: str, level: str, settings: Mapping[str, object]) -> str:
    """Returns the key of the image of a model (by its hash) for an ISA level and what else it was compiled with."""
    what = [model, level, sorted(settings.items()), strop.__version__, toolchain(), _sources()]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


class ImageCache:
    """Images by key; folder: None for the one in `strop.machine.cache_directory()`, which need not exist yet."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_directory() / FOLDER if folder is None else folder

    def get(self, key: str) -> Image | None:
        """Returns the image, mapped; None where there is none that may be used."""
        path = self._path(key)
        image = None
        try:
            check_own(os.lstat(path))
            image = open_image(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            _log.warning("ignored a cached image that cannot be used: %s: %s", path, error)
        _log.info("image %s: %s", key[:16], "miss" if image is None else "hit")
        if self.folder.is_dir():
            count(self.folder, hits=int(image is not None), misses=int(image is None))
        if image is not None:
            mark_used(path, step=_DAY)
        return image

    def put(self, key: str, image: Image) -> Image:
        """Keeps an image and returns it mapped from its file; where that cannot be done, says so and returns it as is.

        Mapped, its code and weights are shared with every process that runs it.
        """
        path, size = self._path(key), image_size(image)
        if size > limit_bytes():
            _log.warning("the image is not cached: its %d bytes are more than STROP_CACHE_SIZE", size)
            return image
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_image(path, image)
            kept = open_image(path)
        except (OSError, ValueError) as error:
            _log.warning("the image is not cached: %s: %s", path, error)
            return image
        trim(self.folder.parent, added=size)
        return kept

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.image"


@functools.cache
def _sources() -> str:
    """Returns what changes whenever the compiler's own source does: in a checkout the version does not tell."""
    files = []
    for room in _ROOMS:
        for folder, _, names in sorted(os.walk(Path(strop.__file__).parent / room)):
            for name in sorted(names):
                if name.endswith(".py"):
                    status = Path(folder, name).stat()
                    files.append((folder, name, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(files).encode()).hexdigest()
