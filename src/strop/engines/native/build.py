"""Makes a compiled model of a model source: an image from the cache, or compiled now, or segments.

The order is that of what is quickest: a file known by its stamp whose image is in the cache is mapped, nothing else is
read; a file known by its content needs one pass over its bytes; only then is ONNX read, lowered and compiled.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from strop.engines.contract import CompiledModel, KnobValue, ModelSource
from strop.engines.knobs import check_precision
from strop.engines.native.identity import Identity, Known
from strop.engines.native.program_model import ProgramModel
from strop.engines.source import as_model
from strop.errors import FileError, NotSupportedError
from strop.machine import cache_directory
from strop.measure.clock import now

if TYPE_CHECKING:
    from strop.compiler.image_cache import ImageCache
    from strop.compiler.object_cache import ObjectCache
    from strop.loader.image import Image
    from strop.model.model import Model

_log = logging.getLogger(__name__)

_CODE_KNOBS = ("winograd", "tune")
"""The knobs beside `isa` that other code comes of."""


class Caches(NamedTuple):
    """Where images, objects and notes about files are kept."""

    folder: Path

    @classmethod
    def of(cls, settings: Mapping[str, KnobValue]) -> Caches:
        """Returns the folder that the setting `cache` names, else the user's cache folder."""
        return cls(Path(str(settings["cache"])) if "cache" in settings else cache_directory())

    @property
    def images(self) -> ImageCache:
        """Whole models."""
        from strop.compiler.image_cache import ImageCache

        return ImageCache(self.folder / "images")

    @property
    def objects(self) -> ObjectCache:
        """Single kernels."""
        from strop.compiler.object_cache import ObjectCache

        return ObjectCache(self.folder / "objects")

    @property
    def notes(self) -> Path:
        """Which file holds which model."""
        return self.folder / "stamps"


def compile_source(source: ModelSource, settings: Mapping[str, KnobValue], precision: str | None) -> CompiledModel:
    """Returns the model compiled; precision: what was asked for, None for what the model is there in."""
    caches, start = Caches.of(settings), now()
    identity = Identity(source, caches.notes)
    known = identity.find()
    if known is not None and precision in (None, known.precision):
        image = caches.images.get(key_of(known.sha256, settings))
        if image is not None:
            try:
                return _program(image, settings, known.precision, {"read": now() - start, "compile": 0.0})
            except FileError as error:  # another process removed the image in this very moment
                _log.info("the image is gone: %s", error)
    model = as_model(source)
    identity.note(Known(model.sha256, "int8" if model.is_quantized else "f32"))
    read = now()
    found = check_precision_of(model, precision)
    made = image_of_model(model, settings, caches)
    if made is not None:
        return _program(made, settings, found, {"read": read - start, "compile": now() - read})
    from strop.engines.native.compiled import compile_whole

    return compile_whole(model, {**settings, "precision": found})


def image_of_model(model: Model, settings: Mapping[str, KnobValue], caches: Caches) -> Image | None:
    """Returns the image of a model that is native as a whole, from the cache or compiled now; None for others."""
    if not all(spec.is_static for spec in model.inputs):
        return None
    key = key_of(model.sha256, settings)
    image = caches.images.get(key)
    if image is not None:
        return image
    from strop.compiler.program import CompileSettings, compile_program

    isa, winograd = str(settings["isa"]), settings["winograd"]
    try:
        program = compile_program(
            model, CompileSettings(isa, "off" if winograd == "off" else "auto"), cache=caches.objects
        )
    except NotSupportedError as error:
        if error.code != "unsupported.model":
            raise
        _log.info("%s is not native as a whole: %s", model.name, error.in_a_line)
        return None
    except Exception as error:  # a mistake of ours must not stop a model that ONNX Runtime can run
        warnings.warn(f"{model.name} could not be compiled ({type(error).__name__}: {error})", stacklevel=2)
        return None
    return caches.images.put(key, program.image)


def key_of(sha256: str, settings: Mapping[str, KnobValue]) -> str:
    """Returns the key of a model's image."""
    from strop.compiler.image_cache import image_key

    return image_key(sha256, str(settings["isa"]), {name: settings[name] for name in _CODE_KNOBS})


def check_precision_of(model: Model, precision: str | None) -> str:
    """Returns the precision the model is there in; raises NotSupportedError where another one was asked for."""
    from strop.engines.contract import Settings

    return check_precision("native", model, Settings().updated({} if precision is None else {"precision": precision}))


def _program(
    image: Image, settings: Mapping[str, KnobValue], precision: str, stages: Mapping[str, float]
) -> ProgramModel:
    return ProgramModel(image, settings={**settings, "precision": precision}, stages=stages)
