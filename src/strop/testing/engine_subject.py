"""The engine under test, its compiled tiny models, and the assertions that the checks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import cached_property

import numpy as np
import onnx

from strop.engines.contract import CompiledModel, Engine, Settings
from strop.engines.reference import ReferenceEngine
from strop.errors import StropError
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.oracle import run_unoptimized
from strop.testing import models

Arrays = dict[str, np.ndarray]


class Subject:
    """An engine, and two tiny models compiled once: `single` x -> y, and `double` (x, state) -> (y, new_state)."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._open = ExitStack()

    @cached_property
    def single(self) -> CompiledModel:
        """[batch, 16] -> [batch, 4]."""
        return self.compile(models.multilayer_perceptron())

    @cached_property
    def double(self) -> CompiledModel:
        """Two inputs and two outputs of [batch, 4]."""
        return self.compile(models.stateful())

    @cached_property
    def wide(self) -> CompiledModel:
        """[batch, 4, h, w] -> [batch, 3, 2h, 2w]: arrays too large to be copied lightly."""
        return self.compile(models.transposed_convolution())

    @cached_property
    def wide_and_fixed(self) -> CompiledModel:
        """The same at [1, 4, 64, 64], every size known beforehand."""
        return self.compile(load_model(models.transposed_convolution(), shapes={"x": (1, 4, 64, 64)}))

    def expected(self, model: Model, inputs: Arrays) -> Arrays:
        """Returns the right outputs: the reference evaluator's, for that itself unoptimized ONNX Runtime's."""
        if self.engine.name == "reference":
            return run_unoptimized(model, inputs)
        with closing(ReferenceEngine().compile(model, Settings())) as reference:
            return reference(inputs)

    def compile(self, model: onnx.ModelProto | Model, settings: Settings | None = None) -> CompiledModel:
        """Returns the model compiled, on one thread unless `settings` say otherwise; it is closed with the subject."""
        compiled = self.engine.compile(load_model(model), settings or Settings(threads=1))
        self._open.enter_context(closing(compiled))
        return compiled

    def close(self) -> None:
        """Closes every compiled model."""
        self._open.close()


def rows(count: int, columns: int, *, seed: int = 0) -> np.ndarray:
    """Returns random float32 rows."""
    return np.random.default_rng(seed).normal(size=(count, columns)).astype(np.float32)


def images(count: int, size: int, *, seed: int = 0) -> np.ndarray:
    """Returns random float32 images of 4 channels."""
    return np.random.default_rng(seed).normal(size=(count, 4, size, size)).astype(np.float32)


def assert_raises(code: str, call: Callable[[], object], *, saying: str = "") -> None:
    """Asserts that `call` raises a StropError with this code, whose text holds `saying` and whose hint is not empty."""
    try:
        call()
    except StropError as error:
        assert error.code == code, f"raised {error.code} instead of {code}: {error}"
        assert saying in str(error), f"the error does not say {saying!r}: {error}"
        assert error.hint, f"the error has no hint: {error}"
    except Exception as error:
        raise AssertionError(f"raised {type(error).__name__} instead of a StropError {code}: {error}") from error
    else:
        raise AssertionError(f"did not raise {code}")


def assert_close(got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], *, tolerance: float = 1e-3) -> None:
    """Asserts the same names in the same order, dtypes, shapes, and values within a relative L2 distance."""
    assert list(got) == list(expected), f"outputs {list(got)} instead of {list(expected)}"
    for name, want in expected.items():
        have = got[name]
        assert isinstance(have, np.ndarray), f"{name} is a {type(have).__name__}, no array"
        assert (have.dtype, have.shape) == (want.dtype, want.shape), (
            f"{name} is {have.dtype} {have.shape} instead of {want.dtype} {want.shape}"
        )
        exact = want.astype(np.float64)
        distance = float(np.linalg.norm(have.astype(np.float64) - exact)) / max(float(np.linalg.norm(exact)), 1e-30)
        assert distance <= tolerance, f"{name} is {distance:.2g} off (relative L2), at most {tolerance:g} is allowed"
