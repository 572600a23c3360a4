"""What a command works on: a data set, or a task, whose calls are recorded with the original model."""

from __future__ import annotations

from contextlib import ExitStack, closing

from strop.engines.compile import compile_model
from strop.engines.contract import CompiledModel, Settings
from strop.errors import UsageError
from strop.model.model import Model
from strop.model.preprocess import Preprocess
from strop.model.specs import TensorSpec
from strop.optimize.scoring import LabelSource
from strop.quality.data import Data, open_data
from strop.quality.task import TaskData, open_task

RECORDING_ENGINE = "onnxruntime"


def open_samples(
    data: object,
    *,
    inputs: tuple[TensorSpec, ...],
    original: Model | CompiledModel,
    stack: ExitStack,
    labels: LabelSource | None = None,
    preprocess: str | Preprocess | None = None,
    task: object = None,
) -> Data | TaskData:
    """Returns the samples of `data`, or of `task`, for a model with these inputs.

    original: what a task is recorded with; a model is compiled for that, to run on one thread, until `stack` ends.
    Raises UsageError (`usage.bad-option`) unless exactly one of data and task is given.
    """
    if task is None:
        if data is None:
            raise UsageError(
                "usage.bad-option",
                "there is nothing to run the model on",
                expected="--data or --task",
                hint="give --data images/, --data x.npz, or --task file.py:Task",
            )
        return open_data(data, inputs=inputs, labels=labels, preprocess=preprocess)
    given = {"--data": data, "--labels": labels, "--preprocess": preprocess}
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                "usage.bad-option",
                "a task brings its own samples and targets",
                got=f"{name} {value}" if isinstance(value, str) else name,
                hint=f"leave {name} out, or the task",
            )
    if isinstance(original, Model):
        # One thread has no pool that could spin beside what is measured later.
        original = stack.enter_context(
            closing(compile_model(original, engine=RECORDING_ENGINE, settings=Settings(threads=1)))
        )
    return open_task(task, run=original, inputs=inputs)
