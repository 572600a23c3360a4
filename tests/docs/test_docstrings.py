"""Every example in a docstring runs, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import strop
import strop.testing

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(strop.__path__, "strop.")
    if not module.name.endswith(("__main__", "worker_process"))
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{error.name} is not installed")
    failures, _ = doctest.testmod(module)
    assert failures == 0


def test_exactly_these_names_are_public() -> None:
    names = ["Preprocess", "StropError", "compile", "load", "measure", "optimize", "quantize", "stage"]
    assert sorted(strop.__all__) == names
    for name in strop.__all__:
        assert getattr(strop, name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "strop.optimize.api:optimize",
        "strop.quantize.api:quantize",
        "strop.quantize.compiling:compile",
        "strop.runtime.load:load",
        "strop.measure.comparison:compare",
        "strop.measure.stages:stage",
        "strop.model.preprocess:Preprocess",
        "strop.errors:StropError",
        *(f"strop.testing:{name}" for name in strop.testing.__all__),
    ],
)
def test_a_public_name_explains_itself_with_an_example(name: str) -> None:
    home, _, attribute = name.partition(":")
    text = inspect.getdoc(getattr(importlib.import_module(home), attribute)) or ""
    assert len(text.splitlines()[0]) > 20
    assert ">>>" in text
