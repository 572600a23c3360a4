"""Real models run as machine code altogether, and agree with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.compiler.partition import partition
from strop.compiler.program import CompileSettings, compile_program
from strop.loader.cpu import isa_levels
from strop.loader.native import NativeProgram
from strop.model.load import load_model
from strop.model.oracle import run_unoptimized
from strop.model.random_inputs import make_inputs

MODELS: dict[str, dict[str, tuple[int, ...]] | None] = {
    "ad_autoencoder": {"input_1": (1, 640)},
    "basic_pitch": {"serving_default_input_2:0": (1, 43844, 1)},
    "cifar10_resnet20": {"input": (1, 3, 32, 32)},
    "cifar10_resnet20_raw": {"input": (1, 3, 32, 32)},
    "cifar10_resnet56": {"input": (1, 3, 32, 32)},
    "cifar10_resnet8": {"input_1": (1, 32, 32, 3)},
    "deeplabv3_mnv2_dm05": None,
    "efficientnet_lite0": {"input": (1, 3, 224, 224)},
    "kws_dscnn": {"input_1": (1, 49, 10, 1)},
    "magika": {"bytes": (1, 2048)},
    "mnist_cnn": None,
    "mobilenet_v2": {"input": (1, 3, 224, 224)},
    "mtcnn_onet": {"input_3": (2, 48, 48, 3)},
    "ppocr_cls": {"x": (1, 3, 48, 192)},
    "ppocrv4_det": {"x": (1, 3, 160, 160)},
    "ppocrv6_rec_tiny": {"x": (1, 3, 48, 160)},
    "superres_core": {"Y": (1, 1, 48, 64)},
    "ultraface_rfb320": None,
    "vww_mbv1_025_96": {"input_1": (1, 96, 96, 3)},
}
"""The models, and the shapes of their inputs where they leave sizes open."""

RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""Distances that rounding may make: of the whole output, and per element (ONNX Runtime's sigmoid ends near 1e-8)."""


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_zoo_is_native_and_agrees_with_onnx_runtime(zoo: Path, name: str) -> None:
    model = load_model(zoo / "models" / f"{name}.onnx", shapes=MODELS[name])
    level = isa_levels()[0]
    parts = partition(model, isa=level)
    assert parts.native_share == 1, parts.reasons
    program = compile_program(model, CompileSettings(level, verify=True))
    inputs = make_inputs(model)
    with NativeProgram(program.image, threads=1, poison=True) as run:
        outputs = run(inputs)
    for key, want in run_unoptimized(model, inputs).items():
        assert (outputs[key].shape, outputs[key].dtype) == (want.shape, want.dtype)
        distance = np.linalg.norm(outputs[key].astype(np.float64) - want)
        allowed = RELATIVE * np.linalg.norm(want.astype(np.float64)) + ABSOLUTE * np.sqrt(want.size)
        assert distance <= allowed, f"{key}: {distance} of {np.linalg.norm(want)}"
