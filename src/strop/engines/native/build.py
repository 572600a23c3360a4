"""Makes a compiled model of a model source: an image from the cache, or compiled now, or segments.

The order is that of what is quickest: a file known by its stamp whose image is in the cache is mapped, nothing else is
read; a file known by its content needs one pass over its bytes; only then is ONNX read, lowered and compiled.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from strop.engines.contract import CompiledModel, KnobValue, ModelSource
from strop.engines.knobs import check_precision
from strop.engines.native.compiled import Segmented, whole_on_onnxruntime
from strop.engines.native.identity import Identity, Known
from strop.engines.native.program_model import ProgramModel
from strop.engines.native.program_step import ProgramStep
from strop.engines.native.route import Route
from strop.engines.native.shapes import Shapes
from strop.engines.native.specialized import Specialized
from strop.engines.native.tuning import TunedNote, measured
from strop.engines.source import as_model
from strop.errors import FileError, ModelError, NotSupportedError
from strop.machine import cache_directory
from strop.measure.clock import now

if TYPE_CHECKING:
    from strop.compiler.image_cache import ImageCache
    from strop.compiler.object_cache import ObjectCache
    from strop.loader.image import Image
    from strop.model.model import Model

_log = logging.getLogger(__name__)

MOST_APART = 4
"""How many sets of shapes a bundle holds code for where each needs code and weights of its own."""

_CODE_KNOBS = ("winograd", "tune")
"""The knobs beside `isa` that other code comes of; what tuning measured is a part of its own of an image's key."""


class Caches(NamedTuple):
    """Where images, objects and notes about files are kept."""

    folder: Path

    @classmethod
    def of(cls, settings: Mapping[str, KnobValue]) -> Caches:
        """Returns the folder that the setting `cache` names, else the user's cache folder.

        Raises UsageError `usage.bad-option` where STROP_CACHE_SIZE is no size: now, not when all is compiled.
        """
        from strop.compiler.cache_folder import limit_bytes

        limit_bytes()
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
    def records(self) -> Path:
        """What tuning measured."""
        return self.folder / "records"

    @property
    def notes(self) -> Path:
        """Which file holds which model, and which records a tuned image was made by."""
        return self.folder / "stamps"


def is_native(source: ModelSource, settings: Mapping[str, KnobValue]) -> bool:
    """Whether all of the model would be machine code; nothing is compiled to find out.

    Not where more than the batch is free: every new size could cost the time of compiling.
    """
    caches = Caches.of(settings)
    known = Identity(source, caches.notes).find()
    if known is not None and find_image(known.sha256, settings, caches) is not None:
        return True
    model = as_model(source)
    free_sizes = (size for spec in model.inputs for size in spec.shape[1:] if not isinstance(size, int))
    if any(True for _ in free_sizes) or not _may_be_native(model):
        return False
    from strop.compiler.partition import partition

    try:
        shaped = _at_some_sizes(model)
        return partition(shaped, isa=str(settings["isa"]), winograd=_winograd(settings)).native_share == 1
    except Exception as error:  # compiling it says what is wrong
        _log.info("%s cannot be divided: %s", model.name, error)
        return False


def _at_some_sizes(model: Model) -> Model:
    """Returns the model with its batch where that is free: one, or what it runs at."""
    from strop.model.random_inputs import runnable_inputs
    from strop.model.shapes import with_shapes

    if all(spec.is_static for spec in model.inputs):
        return model
    return with_shapes(model, {name: array.shape for name, array in runnable_inputs(model).items()})


def _may_be_native(model: Model) -> bool:
    """Whether a node makes every output, and every operator on values that change has a rule: quick to say no."""
    from strop.compiler.lower import RULES

    changing, made = {spec.name for spec in model.inputs}, set()
    for node in model.to_proto().graph.node:
        made.update(node.output)
        if changing.intersection(node.input) and node.op_type not in ("Shape", "Size"):
            if node.op_type not in RULES:
                return False
            changing.update(node.output)
    return made.issuperset(spec.name for spec in model.outputs)


def compile_source(source: ModelSource, settings: Mapping[str, KnobValue], precision: str | None) -> CompiledModel:
    """Returns the model compiled; precision: what was asked for, None for what the model is there in."""
    caches, start = Caches.of(settings), now()
    identity = Identity(source, caches.notes)
    known, missing = identity.find(), ""
    if known is not None and precision in (None, known.precision):
        image = find_image(known.sha256, settings, caches)
        missing = "" if image is not None else known.sha256
        if image is not None:
            try:
                chosen = {**settings, "precision": known.precision}
                return ProgramModel(image, settings=chosen, stages={"read": now() - start, "compile": 0.0})
            except FileError as error:  # another process removed the image in this very moment
                _log.info("the image is gone: %s", error)
    model = as_model(source)
    identity.note(Known(model.sha256, "int8" if model.is_quantized else "f32"))
    read = now()
    chosen = {**settings, "precision": check_precision_of(model, precision)}
    if not all(spec.is_static for spec in model.inputs):
        return _of_free_sizes(model, chosen, caches, read - start)
    image = image_of_model(model, chosen, caches, is_missing=model.sha256 == missing)
    if image is not None:
        return ProgramModel(image, settings=chosen, stages={"read": read - start, "compile": now() - read})
    route, share = _segments(model, chosen, caches) or (whole_on_onnxruntime(model, chosen), 0.0)
    stages = {"read": read - start, "compile": now() - read}
    return Segmented(model, route, native_share=share, settings=chosen, stages=stages)


def _segments(model: Model, settings: Mapping[str, KnobValue], caches: Caches) -> tuple[Route, float] | None:
    """Returns the way through a model that is not native as a whole, and the share of its nodes that is; None for 0."""
    from strop.compiler.partition import partition
    from strop.engines.native.segments import is_worthwhile, make_route

    try:
        divided = partition(model, isa=str(settings["isa"]), winograd=_winograd(settings))
    except Exception as error:  # a mistake of ours must not stop a model that ONNX Runtime can run
        _warn(model, error)
        return None
    if not is_worthwhile(divided):
        return None
    return make_route(divided, lambda part: _program(part, settings, caches), settings)


def _program(model: Model, settings: Mapping[str, KnobValue], caches: Caches) -> ProgramModel | None:
    image = image_of_model(model, settings, caches)
    # A part of a model: the whole has its place in the budget.
    return None if image is None else ProgramModel(image, settings={**settings, "share_cores": False}, stages={})


def _of_free_sizes(
    model: Model, settings: Mapping[str, KnobValue], caches: Caches, read_seconds: float
) -> CompiledModel:
    """Returns a model some sizes of which are not known before a request comes; no request waits for tuning."""
    from strop.compiler.program import CompileSettings
    from strop.engines.native.family import Family
    from strop.model.oracle import custom_operators
    from strop.model.shapes import with_shapes

    start = now()
    settings = {**settings, "tune": False}
    if custom_operators(model.to_proto()):  # nothing but an engine can tell what shapes they give
        route = whole_on_onnxruntime(model, settings)
        stages = {"read": read_seconds, "compile": now() - start}
        return Segmented(model, route, native_share=0.0, settings=settings, stages=stages)

    family = Family(model, CompileSettings(str(settings["isa"]), _winograd(settings)), caches.objects)

    def compile_for(shapes: Shapes) -> tuple[Route, float] | None:
        named = {spec.name: shape for spec, shape in zip(model.inputs, shapes, strict=True)}
        image = family.image(named)
        if image is not None:
            program: ProgramModel | None = ProgramModel(image, settings={**settings, "share_cores": False}, stages={})
        else:
            shaped = with_shapes(model, named)
            program = _program(shaped, settings, caches)
            if program is None:
                return _segments(shaped, settings, caches)
        assert program is not None
        step = ProgramStep(
            program, inputs=[spec.name for spec in model.inputs], outputs=[spec.name for spec in model.outputs]
        )
        return Route([step], inputs=step.inputs, outputs=step.outputs), 1.0

    return Specialized(
        model,
        compile=compile_for,
        is_cheap=lambda: family.is_cheap,
        fallback=partial(whole_on_onnxruntime, model, settings),
        settings=settings,
        stages={"read": read_seconds, "compile": now() - start},
    )


def image_of_model(
    model: Model, settings: Mapping[str, KnobValue], caches: Caches, *, is_missing: bool = False
) -> Image | None:
    """Returns the image of a model that is native as a whole, from the cache or compiled now; None for others.

    is_missing: the cache was asked for it in vain already, and said what was wrong with it.
    """
    if not all(spec.is_static for spec in model.inputs):
        return None
    image = None if is_missing else find_image(model.sha256, settings, caches)
    if image is not None:
        return image
    from strop.compiler.choose import NoKernelError
    from strop.compiler.program import CompileSettings, compile_program

    try:
        wanted = CompileSettings(str(settings["isa"]), _winograd(settings))
        records = measured(model, wanted, caches, float(settings["tune_seconds"])) if settings["tune"] else None
        program = compile_program(model, wanted, cache=caches.objects, records=records)
    except NoKernelError as error:
        _log.info("%s is not native as a whole: %s", model.name, error)
        return None
    except NotSupportedError as error:
        if error.code != "unsupported.model":
            raise
        _log.info("%s is not native as a whole: %s", model.name, error.in_a_line)
        return None
    except Exception as error:  # a mistake of ours must not stop a model that ONNX Runtime can run
        _warn(model, error)
        return None
    digest = "" if records is None else records.used_digest
    kept = caches.images.put(key_of(model.sha256, settings, digest), program.image)
    if records is not None:
        TunedNote(model.sha256, settings, caches.notes).write(digest)
    return kept


def images_of_shapes(
    model: Model, wanted: Sequence[Mapping[str, tuple[int, ...]]], settings: Mapping[str, KnobValue], caches: Caches
) -> list[Image]:
    """Returns the images of a model with free sizes for these shapes of its inputs, as many as have one.

    They share code and weights where the model allows it; where not, only the first few shapes get an image.
    """
    from strop.compiler.program import CompileSettings
    from strop.engines.native.family import Family
    from strop.model.oracle import custom_operators
    from strop.model.shapes import with_shapes

    if custom_operators(model.to_proto()):
        return []
    settings = {**settings, "tune": False}
    family = Family(model, CompileSettings(str(settings["isa"]), _winograd(settings)), caches.objects)
    made: list[tuple[Mapping[str, tuple[int, ...]], Image]] = []
    for shapes in wanted:
        try:
            image = family.image(shapes)
            if image is None and len(made) < MOST_APART:
                image = image_of_model(with_shapes(model, shapes), settings, caches)
        except ModelError as error:  # a request's values decide; the engine serves these sizes when they come
            _log.info("%s has no code for %s: %s", model.name, shapes, error.in_a_line)
            continue
        if image is not None:
            made.append((shapes, image))
        elif not made:
            return []  # what is native in part is so for all sizes
    # Code may have been added for later sizes: now that all is there, every plan is made for the same code.
    return [family.image(shapes) or image for shapes, image in made] if family.is_cheap else [i for _, i in made]


def find_image(sha256: str, settings: Mapping[str, KnobValue], caches: Caches) -> Image | None:
    """Returns the finished image of a model, None where there is none; a tuned one is that of its last tuning."""
    digest = TunedNote(sha256, settings, caches.notes).read() if settings["tune"] else ""
    return None if settings["tune"] and not digest else caches.images.get(key_of(sha256, settings, digest))


def _warn(model: Model, error: Exception) -> None:
    problem = f"{type(error).__name__}: {error}"
    warnings.warn(f"{model.name} runs on ONNX Runtime, as compiling it failed ({problem})", stacklevel=4)


def _winograd(settings: Mapping[str, KnobValue]) -> Literal["auto", "off"]:
    return "off" if settings["winograd"] == "off" else "auto"


def key_of(sha256: str, settings: Mapping[str, KnobValue], records: str = "") -> str:
    """Returns the key of a model's image; records: the digest of those that it was made by."""
    from strop.compiler.image_cache import image_key

    knobs = {name: settings[name] for name in _CODE_KNOBS} | ({"records": records} if records else {})
    return image_key(sha256, str(settings["isa"]), knobs)


def check_precision_of(model: Model, precision: str | None) -> str:
    """Returns the precision the model is there in; raises NotSupportedError where another one was asked for."""
    from strop.engines.contract import Settings

    return check_precision("native", model, Settings().updated({} if precision is None else {"precision": precision}))
