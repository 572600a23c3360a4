"""The programs of a model with free sizes, as long as they have code and weights in common."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from strop.errors import ModelError

if TYPE_CHECKING:
    from strop.compiler.family import ProgramFamily
    from strop.compiler.object_cache import ObjectCache
    from strop.compiler.program import CompileSettings
    from strop.loader.image import Image
    from strop.model.model import Model

_log = logging.getLogger(__name__)


class Family:
    """Images by the shapes of the inputs; None, from the first time on, where the model does not allow it.

    Args:
        model: the model.
        settings: of its code.
        cache: of objects.
    """

    def __init__(self, model: Model, settings: CompileSettings, cache: ObjectCache) -> None:
        self._model, self._settings, self._cache = model, settings, cache
        self._programs: ProgramFamily | None = None
        self._chances = 2  # the first shapes that are asked for may be ones that the model cannot take

    @property
    def is_cheap(self) -> bool:
        """Whether further shapes take neither code nor weights of their own."""
        return self._programs is not None

    def image(self, shapes: Mapping[str, tuple[int, ...]]) -> Image | None:
        """Returns the image for these shapes, None where each set of shapes has to be compiled for itself."""
        if not self._chances:
            return None
        from strop.compiler.choose import NoKernelError
        from strop.compiler.family import ProgramFamily
        from strop.compiler.shape_template import NoTemplateError

        try:
            if self._programs is None:
                self._programs = ProgramFamily(self._model, self._settings, cache=self._cache)
            return self._programs.image(shapes)
        except ModelError:  # these shapes are wrong; others need not be
            raise
        except (NoTemplateError, NoKernelError) as error:
            _log.info("%s is compiled for each set of shapes: %s", self._model.name, error)
        except Exception as error:  # a mistake of ours must not stop a model that can be compiled otherwise
            _log.warning("%s is compiled for each set of shapes: %s: %s", self._model.name, type(error).__name__, error)
        self._chances, self._programs = self._chances - 1, None
        return None
