"""Runs a bundle's model with the engine it was measured with, or, where that is allowed, with ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

from strop.engines.contract import CompiledModel, Engine, KnobValue, Settings
from strop.engines.registry import get_engine
from strop.engines.source import StoredModel
from strop.errors import NotSupportedError, UsageError
from strop.loader import Bundle
from strop.loader.format import MODEL
from strop.machine import usable_cores
from strop.model.specs import TensorSpec

FALLBACK = "onnxruntime"
"""The engine that is always installed, and that runs a bundle's model where its own engine cannot."""


def compile_bundle(bundle: Bundle, given: Mapping[str, KnobValue], *, fallback: bool) -> CompiledModel:
    """Returns the model inside, compiled with the recorded settings and what `given` replaces of them.

    Raises NotSupportedError `bundle.needs` where its engine or code is not for here and `fallback` is not set.
    """
    model = _stored_model(bundle)
    try:
        return _own_engine(bundle).compile(model, _settings(bundle).updated(given))
    except NotSupportedError as error:
        if not fallback:
            raise
        warnings.warn(f"{error.what} ({bundle.file}): running it on {FALLBACK} instead", stacklevel=4)
        portable = replace(_settings(bundle), device="CPU", knobs={})
        return get_engine(FALLBACK).compile(model, portable.updated(given))


def _own_engine(bundle: Bundle) -> Engine:
    """Returns the engine the bundle names; raises NotSupportedError `bundle.needs` where it cannot be used here."""
    bundle.check_cpu()
    needs = bundle.manifest["needs"]
    try:
        engine = get_engine(needs["engine"])
        engine.load()
    except (UsageError, NotSupportedError) as error:
        raise NotSupportedError(
            "bundle.needs",
            f"the bundle needs the engine {needs['engine']}, which cannot be used here",
            where=bundle.file,
            got=error.what,
            expected=f"{needs['engine']} {needs['version']}".strip(),
            hint=f"{error.hint}; or load with fallback=True to run the model on {FALLBACK}",
        ) from error
    return engine


def _settings(bundle: Bundle) -> Settings:
    """Returns the recorded settings, cut to this machine's cores; never a folder that somebody else named."""
    recorded = {name: value for name, value in bundle.manifest["engine"]["settings"].items() if name != "cache"}
    settings = Settings().updated(recorded)
    if settings.threads is None:
        return settings
    threads = min(settings.threads, usable_cores())
    return replace(settings, threads=threads, streams=settings.streams and min(settings.streams, threads))


def _stored_model(bundle: Bundle) -> StoredModel:
    manifest = bundle.manifest
    content = bytes(bundle.member(MODEL))
    _refuse_external_data(content)
    inputs, outputs = (
        tuple(TensorSpec(spec["name"], spec["dtype"], tuple(spec["shape"])) for spec in manifest[kind])
        for kind in ("inputs", "outputs")
    )
    model = manifest["model"]
    return StoredModel(model["name"], inputs, outputs, model["quantized"], read=lambda: content)


def _refuse_external_data(content: bytes) -> None:
    """Raises ModelError `model.external-data` where the model would make an engine read other files.

    Such a reference cannot be written without this word, so models without it, which is most, need no parse.
    """
    if b"location" in content:
        from strop.model.load import load_model

        load_model(content)
