"""A folder of images: class sub-folders, a flat folder, or images named by a CSV file of labels.

Images are decoded when they are wanted, turned as their EXIF orientation says (as viewers and OpenCV show them;
torchvision does not) and converted to RGB, 8 bits. Class sub-folders are sorted by name as text; the label is the
position in that list. A single sub-folder is no classification: its images have no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from strop.errors import DataError
from strop.quality.fingerprint import fingerprint_of, fingerprint_of_files
from strop.quality.labels import Labels
from strop.quality.sources.contract import Raw

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


class ImageSource:
    """Images under `root`, by relative path; `targets` has one entry per image."""

    def __init__(self, root: Path, paths: Sequence[str], targets: Sequence[object] | None, notes: tuple[str, ...] = ()):
        self.name = str(root)
        self.has_targets = targets is not None
        self.notes = notes
        self.keys = tuple(paths)
        self._root, self._paths, self._targets = root, paths, targets

    def fingerprint(self) -> str:
        """Returns the hash of the images' names, content and labels."""
        content = fingerprint_of_files([self._root / path for path in self._paths], self._paths)
        return fingerprint_of(content, self._targets)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, indices: Sequence[int]) -> Iterator[Raw]:
        """Yields uint8 arrays [height, width, 3], RGB."""
        for index in indices:
            target = None if self._targets is None else self._targets[index]
            yield Raw(self._paths[index], read_image(self._root / self._paths[index]), target)


def image_source(root: Path, labels: Labels | None) -> ImageSource:
    """Returns the source of a folder's images, with labels by path or in order where they are given."""
    found = _images_under(root)
    if not found:
        raise DataError(
            "data.empty",
            "the folder holds no images",
            where=str(root),
            expected=" ".join(sorted(SUFFIXES)),
            hint="give the folder that holds the images, or an .npz file",
        )
    if labels is not None and labels.paths is not None:
        return _named_by_labels(root, found, labels, labels.paths)
    if labels is not None:
        labels.check_count(len(found))
        return ImageSource(root, found, labels.values)
    return _by_class_folder(root, found)


def read_image(path: Path) -> np.ndarray:
    """Returns an image as uint8 [height, width, 3], RGB; raises DataError (`data.format`) naming the file."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":
                raise ValueError(f"{image.mode}: more than 8 bits a channel")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            "data.format",
            "the image cannot be read",
            where=str(path),
            got=str(error),
            hint="repair or remove the file; 16-bit images must be converted to 8 bits",
        ) from error


def _images_under(root: Path) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(_is_hidden(part) for part in path.relative_to(root).parts)
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _named_by_labels(root: Path, found: list[str], labels: Labels, named: Sequence[str]) -> ImageSource:
    paths = [Path(path).as_posix() for path in named]  # "./a.png" -> "a.png"
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        raise DataError(
            "data.labels",
            "the labels name images that are not in the folder",
            where=labels.name,
            got=f"{len(missing)} of {len(paths)} missing, the first: {missing[0]}",
            expected=f"paths relative to {root}",
            hint="check the column path, and which folder --data names",
        )
    repeated = {path for path in paths if paths.count(path) > 1} if len(set(paths)) < len(paths) else set()
    if repeated:
        raise DataError(
            "data.labels",
            "the labels name an image twice",
            where=labels.name,
            got=min(repeated),
            hint="keep one row per image",
        )
    left_out = len(set(found) - set(paths))
    notes = (f"{left_out} of {len(found)} images have no row in {labels.name} and are left out",) if left_out else ()
    return ImageSource(root, paths, labels.values, notes)


def _by_class_folder(root: Path, found: list[str]) -> ImageSource:
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not _is_hidden(path.name))
    top = [path.partition("/")[0] for path in found]
    inside = [name in folders and "/" in path for name, path in zip(top, found, strict=True)]
    if len(folders) < 2 or not any(inside):
        return ImageSource(root, found, None)
    if not all(inside):
        raise DataError(
            "data.format",
            "images lie both in the folder itself and in sub-folders",
            where=str(root),
            got=f"{inside.count(False)} in the folder, {inside.count(True)} in sub-folders",
            hint="move them all into class sub-folders, or name labels with a CSV file (path,label)",
        )
    label = {name: index for index, name in enumerate(folders)}
    notes: tuple[str, ...] = ()
    if all(name.isdecimal() for name in folders) and folders != sorted(folders, key=int):
        notes = (f"class folders are sorted as text: {folders[1]!r} is label 1; a CSV file (path,label) is explicit",)
    return ImageSource(root, found, [label[name] for name in top], notes)
