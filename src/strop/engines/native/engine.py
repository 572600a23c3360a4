"""The engine `native`: our compiler's machine code where there is a kernel, segments on ONNX Runtime elsewhere."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from strop.engines.contract import Availability, CompiledModel, Knob, KnobValue, ModelSource, Settings
from strop.engines.knobs import check_streams, device_missing, knob_values
from strop.engines.source import as_model
from strop.errors import NotSupportedError
from strop.loader import cpu
from strop.machine import Machine, machine

if TYPE_CHECKING:
    from strop.compiler.tune import Listener
    from strop.loader.image import Image

LEVELS = ("x86-64-v4+vnni", "x86-64-v4", "x86-64-v3", "generic")
"""The ISA levels whose code can be asked for, best first."""


_WINOGRAD = "Winograd's algorithm for 3x3 convolutions; a NaN or infinity in an image then makes NaN of a whole tile"


class NativeEngine:
    """Runs models as machine code of our own; what has no kernel runs on ONNX Runtime, in segments."""

    name = "native"

    def available(self) -> Availability:
        """Says whether code can be made and run here, without importing the compiler."""
        why = _why_not()
        if why:
            return Availability(False, why)
        from importlib.metadata import version

        return Availability(True, version=version("strop"))

    def knobs(self, machine: Machine) -> tuple[Knob, ...]:
        """Returns what may be set beyond the fields of Settings."""
        return (
            Knob("isa", "choice", machine.isa, "the instruction set that code is made for", choices=_runnable()),
            Knob("winograd", "choice", "auto", _WINOGRAD, choices=("auto", "off")),
            Knob("tune", "bool", False, "kernels are chosen by measuring them here, once; not for sizes that are free"),
            Knob("tune_seconds", "int", 30, "how long tuning may measure, about", low=1, high=86_400),
        )

    def load(self) -> None:
        """Checks that it can be used; the compiler is imported only where no finished image is in the cache."""
        why = _why_not()
        if why:
            raise NotSupportedError(
                "unsupported.engine-missing", "the engine native cannot be used here", got=why, hint="use onnxruntime"
            )

    def compile(self, model: ModelSource, settings: Settings) -> CompiledModel:
        """Compiles what there are kernels for and opens ONNX Runtime for the rest; a finished image is only mapped."""
        self.load()
        from strop.engines.native.build import compile_source

        return compile_source(model, self._chosen(settings), settings.precision)

    def tune(self, model: ModelSource, settings: Settings, listener: Listener | None = None) -> None:
        """Measures what compiling the model with tune=True needs, and keeps records and image; tells how far it is.

        Ctrl-C ends it; what was measured by then is kept.
        """
        self.load()
        from strop.engines.native.build import compile_source
        from strop.engines.native.tuning import listening

        chosen = {**self._chosen(settings), "tune": True}
        with listening(listener):
            compile_source(model, chosen, settings.precision).close()

    def image(self, model: ModelSource, settings: Settings) -> Image | None:
        """Returns plan, code and weights of a model all of which is native, None for every other model."""
        self.load()
        from strop.engines.native.build import Caches, image_of_model

        chosen = self._chosen(settings)
        return image_of_model(as_model(model), chosen, Caches.of(chosen))

    def images(
        self, model: ModelSource, shapes: Sequence[Mapping[str, tuple[int, ...]]], settings: Settings
    ) -> list[Image]:
        """Returns plan, code and weights of a model with free sizes, for these shapes of its inputs.

        None where it is not native as a whole; in their order, less those that have none. Equal ones share memory.
        """
        self.load()
        from strop.engines.native.build import Caches, images_of_shapes

        chosen = self._chosen(settings)
        return images_of_shapes(as_model(model), shapes, chosen, Caches.of(chosen))

    def covers(self, model: ModelSource) -> bool:
        """Whether all of the model is machine code with the default settings; makes none to find out."""
        if not self.available().available:
            return False
        from strop.engines.native.build import is_native

        return is_native(model, self._chosen(Settings()))

    def _chosen(self, settings: Settings) -> dict[str, KnobValue]:
        """Returns every setting but the precision, as it will be in force."""
        if settings.device.upper() != "CPU":
            raise device_missing(self.name, settings.device, ["CPU"])
        threads = settings.threads or machine().cores
        streams = settings.streams or (threads if settings.objective == "throughput" else 1)
        check_streams(self.name, threads, streams)
        return {
            "threads": threads,
            "streams": streams,
            "objective": settings.objective,
            "device": "CPU",
            "share_cores": settings.share_cores,
            **({} if settings.cache is None else {"cache": settings.cache}),
            **knob_values(self.name, self.knobs(machine()), settings.knobs),
        }


def _why_not() -> str:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"it makes code for x86-64 on Linux, not for {platform.machine()} on {platform.system()}"
    if importlib.util.find_spec("llvmlite") is None:
        return "llvmlite is not installed: pip install llvmlite"
    return ""


def _runnable() -> tuple[str, ...]:
    """Returns the levels of LEVELS whose code runs here."""
    return tuple(level for level in LEVELS if level in cpu.isa_levels())
