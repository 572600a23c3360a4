"""The twelve networks, in the order of the table, and where their files are kept."""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.networks.deit import deit_tiny
from benchmarks.networks.efficientnet import efficientnet_b0
from benchmarks.networks.inputs import features, image, sentence
from benchmarks.networks.lstm import lstm2x128
from benchmarks.networks.minilm import VOCABULARY, minilm_l6
from benchmarks.networks.mlp import mlp
from benchmarks.networks.mobilenet import mobilenetv2, mobilenetv3_small
from benchmarks.networks.resnet import resnet18, resnet50
from benchmarks.networks.squeezenet import squeezenet11
from benchmarks.networks.unet import unet256
from benchmarks.networks.yolo import yolov8n_320
from strop.machine import cache_directory

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Network:
    """One network: `build` makes the model, `inputs` what it is run on; counts are of those inputs.

    parameters: weights, biases and tables; macs: multiply-accumulates of convolutions and matrix products.
    """

    name: str
    title: str
    build: Callable[[], onnx.ModelProto]
    inputs: Callable[[], Inputs]
    parameters: int
    macs: int


def _image(size: int) -> Callable[[], Inputs]:
    return lambda: {"input": image(size, seed=0)}


def _features(*shape: int) -> Callable[[], Inputs]:
    return lambda: {"input": features(shape, seed=0)}


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("resnet18", "ResNet-18", resnet18, _image(224), 11_684_712, 1_814_073_344),
        Network("resnet50", "ResNet-50", resnet50, _image(224), 25_530_472, 4_089_184_256),
        Network("mobilenetv2", "MobileNetV2", mobilenetv2, _image(224), 3_487_816, 300_774_272),
        Network("mobilenetv3_small", "MobileNetV3-small", mobilenetv3_small, _image(224), 2_536_800, 56_510_400),
        Network("efficientnet_b0", "EfficientNet-B0", efficientnet_b0, _image(224), 5_267_540, 385_814_752),
        Network("squeezenet11", "SqueezeNet 1.1", squeezenet11, _image(224), 1_235_496, 349_151_936),
        Network("yolov8n_320", "YOLOv8n 320", yolov8n_320, _image(320), 3_158_204, 1_092_864_000),
        Network("unet256", "U-Net 256", unet256, _image(256), 1_941_122, 3_033_530_368),
        Network("deit_tiny", "DeiT-tiny", deit_tiny, _image(224), 5_717_416, 1_253_683_200),
        Network(
            "minilm_l6",
            "MiniLM-L6, 128 tokens",
            minilm_l6,
            lambda: sentence(VOCABULARY, 128, seed=0),
            22_565_376,
            1_434_451_968,
        ),
        Network("lstm2x128", "LSTM 2x128, 100 steps", lstm2x128, _features(1, 100, 64), 232_714, 22_938_880),
        Network("mlp", "MLP 64-256-256-10", mlp, _features(1, 64), 85_002, 84_480),
    )
}


def network_file(network: Network, folder: Path | None = None) -> Path:
    """Returns the file of the network in `folder` (default: Strop's cache folder), built if it is not there.

    Its name carries a hash of the code that builds it, so that a changed network is built anew.
    """
    folder = folder or cache_directory() / "benchmarks" / "networks"
    path = folder / f"{network.name}-{_code_hash()}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, hidden = tempfile.mkstemp(prefix=f".{network.name}-", dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(network.build().SerializeToString())
        Path(hidden).replace(path)
    return path


def _code_hash() -> str:
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(code).hexdigest()[:12]


def known_networks(text: str) -> list[str]:
    """Returns the names in a list separated by commas; an error of it is for argparse to say."""
    names = text.split(",")
    for name in names:
        if name not in NETWORKS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(NETWORKS)}")
    return names
