"""The way from here, by what there is: data, labels, a training pipeline, time, a limit, the CPU (W3)."""

from __future__ import annotations

from dataclasses import dataclass

from strop.optimize.advice.commands import benchmark_line, compare_line, quantize_line, search_line, verify_line
from strop.optimize.advice.situation import ModelFacts, Resources
from strop.optimize.advice.training import LEAST_SECONDS as LEAST_TRAINING_SECONDS

ENGINES = ("onnxruntime", "openvino", "native")
THREADS = ("native", "native:threads=1")
LEAST_SEARCH_SECONDS = 60.0
"""A search that races several engines and confirms what it finds; below, quantizing and verifying is what fits."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """A step: `name` is stable, `text` what it is, `command` the line that does it, where there is one."""

    name: str
    text: str
    command: str | None = None

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return {"name": self.name, "text": self.text, "command": self.command}


def path_for(resources: Resources, model: ModelFacts) -> list[PathStep]:
    """Returns the steps in order: conversion, post-training quantization, accuracy control, training, deployment.

    A step stands here only where the resources allow it; what is missing is a step of its own.
    """
    steps = [PathStep("convert", "Compare engines on the float model.", compare_line(resources, ENGINES))]
    if model.is_quantized:
        steps.append(PathStep("quantized already", "Skip quantization: the model carries its own 8 bits."))
    elif model.int8_operators == 0:
        steps.append(PathStep("nothing to quantize", "Skip quantization: 8 bits reach no operator with weights."))
    else:
        steps += _quantization(resources)
    return [*steps, *_deployment(resources)]


def _quantization(resources: Resources) -> list[PathStep]:
    if resources.data is None:
        source = (
            "take some hundred inputs from training" if resources.training else "record some hundred typical inputs"
        )
        return [PathStep("collect data", f"Calibration needs data, no labels: {source}, and give them as --data.")]
    steps = []
    if not resources.int8_instructions:
        steps.append(
            PathStep("expect size, not speed", "This CPU has no 8-bit dot product: 8 bits save memory, hardly time.")
        )
    if resources.max_drop and not resources.labelled:
        steps.append(
            PathStep("get labels", "A limit on the loss of accuracy needs labels; until then agreement is held.")
        )
    steps += _post_training(resources)
    if resources.labelled and resources.max_drop:
        text = "Where the limit fails: more samples, other ranges, then layers back to float, verified one by one."
        steps.append(PathStep("accuracy control", text, verify_line(resources, ".int8.onnx")))
    if resources.training:
        if resources.seconds is not None and resources.seconds < LEAST_TRAINING_SECONDS:
            steps.append(PathStep("no time to train", "Training with quantization takes an hour and more."))
        else:
            text = "As the last resort train with quantization in your framework, export QDQ ONNX, verify it."
            steps.append(PathStep("train with quantization", text, verify_line(resources, ".trained.onnx")))
    return steps


def _post_training(resources: Resources) -> list[PathStep]:
    short = resources.seconds is not None and resources.seconds < LEAST_SEARCH_SECONDS
    if short:
        return [
            PathStep("quantize", "Quantize after training, without a search.", quantize_line(resources, 50)),
            PathStep("verify", "Say what it lost.", verify_line(resources, ".int8.onnx")),
        ]
    held = "held to labels" if resources.labelled else "held to agreement"
    text = {
        "held to labels": "Search engines, 8 bits and settings together, within the loss allowed.",
        "held to agreement": "Search engines, 8 bits and settings together; without labels the answers must stay.",
    }[held]
    return [PathStep(f"search, {held}", text, search_line(resources))]


def _deployment(resources: Resources) -> list[PathStep]:
    if resources.goal in ("throughput", "mixed"):
        limit = " --max-latency p90=10ms" if resources.goal == "mixed" else ""
        command = benchmark_line(resources, options=f"--curve{limit}")
        return [PathStep("curve", "Choose streams and requests on the curve of latency and throughput.", command)]
    if resources.goal == "first-inference":
        command = benchmark_line(resources, options="--first-inference")
        return [PathStep("first inference", "Ship a bundle and keep the cache; look where the start goes.", command)]
    if resources.goal == "memory":
        return [PathStep("memory", "Compare what each engine keeps in memory.", compare_line(resources, ENGINES))]
    return [PathStep("threads", "Find the threads one request is worth.", compare_line(resources, THREADS))]
