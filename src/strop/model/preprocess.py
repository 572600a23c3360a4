"""How an image becomes a model's input, as data: said in one line of text, applied in numpy, printed as arithmetic.

Steps, always in this order, whatever the order of the options:
1. resize (shorter side, exact, or letterbox), 2. crop the middle, 3. channels (RGB as it is, BGR reversed, GRAY),
4. times scale, 5. minus mean, 6. divided by std (mean and std count channels after step 3), 7. layout, 8. dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np

from strop.errors import DataError
from strop.model.resize import FILTERS, resize

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "channels": ("RGB", "BGR", "GRAY"),
    "layout": ("NCHW", "NHWC"),
    "dtype": ("float32", "float16", "uint8"),
    "interpolation": tuple(FILTERS),
}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """The steps from a uint8 RGB image [height, width, 3] to one row of a model's input.

    resize: shorter side to this many pixels (256), or exactly (height, width); letterbox: (height, width) with the
    aspect kept and the rest filled with `fill`; crop: the middle (height, width); None leaves a step out.

    Example:
        >>> import numpy as np
        >>> Preprocess.parse("imagenet").apply(np.zeros((300, 400, 3), np.uint8)).shape
        (3, 224, 224)
    """

    resize: int | tuple[int, int] | None = None
    letterbox: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    fill: int = 114
    channels: Literal["RGB", "BGR", "GRAY"] = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise _error(f"{name} has no such value", getattr(self, name), f"one of {', '.join(allowed)}")
        count = 1 if self.channels == "GRAY" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, count):
                expected = f"1 or {count} numbers for {self.channels}, as {name}={':'.join(['0.5'] * count)}"
                raise _error(f"{name} has the wrong number of channels", f"{len(values)} numbers", expected)
        if 0 in self.std or self.scale == 0:
            raise _error("std and scale must not be 0", "0", "what the training code divides by")
        if self.resize is not None and self.letterbox is not None:
            raise _error("resize and letterbox exclude each other", str(self), "one of them")
        if self.dtype == "uint8" and (self.scale != 1 or self.mean or self.std):
            raise _error("uint8 holds no scaled values", str(self), "scale=1 without mean and std, or dtype=float32")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns what `text` says: a preset, options, or a preset and options that change it.

        Presets: see `PRESETS`. Options: resize=256 or 224x320 (height x width), letterbox=640x640, crop=224,
        interpolation, fill, channels, scale=1/255, mean=0.5:0.5:0.5, std=..., layout, dtype. `none` leaves a step out.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        result = cls()
        if parts and "=" not in parts[0]:
            if parts[0] not in PRESETS:
                raise _error("there is no such preset", parts[0], f"one of {', '.join(PRESETS)}, or name=value,...")
            result = cls.parse(PRESETS[parts.pop(0)])
        values: dict[str, Any] = {}
        for part in parts:
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in _READERS:
                raise _error("there is no such option", part, f"name=value with one of {', '.join(_READERS)}")
            try:
                values[name] = _READERS[name](value)
            except (ValueError, ZeroDivisionError) as error:
                raise _error(f"the value of {name} cannot be read", part, _EXAMPLES.get(name, "a number")) from error
        return replace(result, **values)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Returns the model's input for a uint8 image [height, width, 3] (RGB), without the batch axis.

        A gray image ([height, width] or one channel) counts as RGB of equal channels.
        """
        pixels = self._cropped(self._resized(_rgb(image)))
        if self.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        elif self.channels == "GRAY":
            pixels = _gray(pixels)
        if self.dtype != "uint8":
            pixels = self._arithmetic(pixels.astype(np.float32)).astype(self.dtype)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1) if self.layout == "NCHW" else pixels)

    def describe(self) -> str:
        """Returns the exact arithmetic that is applied, step by step, as text."""
        steps = []
        if isinstance(self.resize, int):
            steps.append(f"resize the shorter side to {self.resize} ({self.interpolation}, antialiased, as Pillow)")
        elif self.resize or self.letterbox:
            height, width = self.resize or self.letterbox or (0, 0)
            kind = "the image" if self.resize else f"with its aspect kept, the rest filled with {self.fill},"
            steps.append(f"resize {kind} to {height} x {width} ({self.interpolation}, antialiased, as Pillow)")
        if self.crop:
            steps.append(f"crop the middle {self.crop[0]} x {self.crop[1]}")
        if self.channels == "GRAY":
            steps.append("gray = 0.299 R + 0.587 G + 0.114 B, rounded")
        else:
            steps.append(f"channels in the order {self.channels}")
        divisor = self._divisor()
        formula = "x" if self.scale == 1 else f"x / {divisor:g}" if divisor else f"x * {self.scale!r}"
        if self.mean:
            formula = f"({formula} - {list(self.mean)})"
        if self.std:
            formula = f"{formula} / {list(self.std)}"
        steps.append(f"y = {formula}   with x in 0..255, per channel in that order")
        steps.append(f"layout {self.layout}, {self.dtype}")
        return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))

    def __str__(self) -> str:
        """The text that `parse` reads back: what differs from the default."""
        default = {field.name: field.default for field in fields(self)}
        given = {name: value for name, value in asdict(self).items() if value != default[name]}
        return ",".join(f"{name}={_written(name, value)}" for name, value in given.items()) or "scale=1/255"

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, fields_: Mapping[str, Any]) -> Self:
        """Returns what `to_json` wrote."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields_.items()}
        return cls(**values)

    def _resized(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if isinstance(self.resize, int):
            short = min(height, width)
            target = (int(self.resize * height / short), int(self.resize * width / short))
            return resize(image, *target, filter_name=self.interpolation)
        if self.resize is not None:
            return resize(image, *self.resize, filter_name=self.interpolation)
        if self.letterbox is None:
            return image
        ratio = min(self.letterbox[0] / height, self.letterbox[1] / width)
        inner = resize(
            image, max(1, round(height * ratio)), max(1, round(width * ratio)), filter_name=self.interpolation
        )
        top, left = ((want - have) // 2 for want, have in zip(self.letterbox, inner.shape, strict=False))
        boxed = np.full((*self.letterbox, image.shape[2]), self.fill, np.uint8)
        boxed[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        return boxed

    def _cropped(self, image: np.ndarray) -> np.ndarray:
        if self.crop is None:
            return image
        if image.shape[0] < self.crop[0] or image.shape[1] < self.crop[1]:
            got, want = f"{image.shape[0]} x {image.shape[1]}", f"at least {self.crop[0]} x {self.crop[1]}"
            raise _error("the image is smaller than the crop", got, f"{want}; add resize={max(self.crop)}")
        top, left = (round((have - want) / 2) for have, want in zip(image.shape, self.crop, strict=False))
        return image[top : top + self.crop[0], left : left + self.crop[1]]

    def _arithmetic(self, x: np.ndarray) -> np.ndarray:
        divisor = self._divisor()
        x = x / np.float32(divisor) if divisor else x * np.float32(self.scale)
        if self.mean:
            x = x - np.array(self.mean, np.float32)
        if self.std:
            x = x / np.array(self.std, np.float32)
        return x

    def _divisor(self) -> int | None:
        """The whole number that `scale` divides by, if it does: x / 255 is not x * (1 / 255) to the last bit."""
        inverse = round(1 / self.scale)
        return inverse if inverse and abs(self.scale * inverse - 1) < 1e-12 else None


PRESETS: Mapping[str, str] = {
    "imagenet": "resize=256,crop=224,mean=0.485:0.456:0.406,std=0.229:0.224:0.225",
    "cifar10": "mean=0.4914:0.4822:0.4465,std=0.247:0.2435:0.2616",
    "unit": "scale=1/255",
    "symmetric": "mean=0.5,std=0.5",
    "raw255": "scale=1",
}
"""By name: ImageNet as torchvision does it; CIFAR-10's own statistics; values 0..1, -1..1 and 0..255."""


def _rgb(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8 and image.ndim == 2:
        image = image[:, :, None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise _error("this is no RGB image", f"{image.dtype} {image.shape}", "uint8 [height, width, 3]")
    return np.broadcast_to(image, (*image.shape[:2], 3))


def _gray(image: np.ndarray) -> np.ndarray:
    """Returns [height, width, 1] by Pillow's 16-bit weights of ITU-R 601-2."""
    weighted = image.astype(np.int32) @ np.array([19595, 38470, 7471], np.int32)
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[:, :, None]


def _sizes(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    return _positive(height), _positive(width or height)


def _shorter_or_exact(text: str) -> int | tuple[int, int] | None:
    if text == "none":
        return None
    return _sizes(text) if "x" in text.lower() else _positive(text)


def _optional_sizes(text: str) -> tuple[int, int] | None:
    return None if text == "none" else _sizes(text)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def _byte(text: str) -> int:
    if not 0 <= int(text) <= 255:
        raise ValueError(text)
    return int(text)


def _fraction(text: str) -> float:
    number, _, divisor = text.partition("/")
    value = float(number) / float(divisor or 1)
    if not np.isfinite(value):
        raise ValueError(text)
    return value


def _numbers(text: str) -> tuple[float, ...]:
    return () if text == "none" else tuple(_fraction(part) for part in text.split(":"))


_READERS: Mapping[str, Any] = {
    "resize": _shorter_or_exact,
    "letterbox": _optional_sizes,
    "crop": _optional_sizes,
    "interpolation": str.lower,
    "fill": _byte,
    "channels": str.upper,
    "scale": _fraction,
    "mean": _numbers,
    "std": _numbers,
    "layout": str.upper,
    "dtype": str.lower,
}
_EXAMPLES: Mapping[str, str] = {
    "resize": "resize=256 (shorter side) or resize=224x320 (height x width)",
    "letterbox": "letterbox=640x640",
    "crop": "crop=224 or crop=224x320",
    "fill": "fill=114, a number from 0 to 255",
    "scale": "scale=1/255",
    "mean": "mean=0.485:0.456:0.406",
    "std": "std=0.229:0.224:0.225",
}


def _written(name: str, value: object) -> str:
    if name in ("mean", "std") and isinstance(value, tuple):
        return ":".join(map(repr, value))
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return repr(value) if isinstance(value, float) else str(value)


def _error(what: str, got: str, expected: str) -> DataError:
    return DataError(
        "data.preprocess",
        what,
        where="preprocessing",
        got=got,
        expected=expected,
        hint="write it as --preprocess imagenet, or --preprocess resize=256,crop=224,mean=0.5:0.5:0.5,std=0.5:0.5:0.5",
    )
