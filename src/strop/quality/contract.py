"""What evaluation speaks in: samples, data sets, decoders, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

Outputs = Mapping[str, np.ndarray]
Run = Callable[[Mapping[str, np.ndarray]], Outputs]
"""Anything that maps one sample's inputs to outputs: a compiled model, a worker's proxy, the oracle."""

Prediction = object
"""What a decoder makes of one sample's outputs; None: they hold NaN or say nothing, which counts as wrong."""

Decode = Callable[[Outputs, Mapping[str, np.ndarray]], Prediction]
"""Turns the outputs of one sample (and the inputs it came from) into a prediction."""

Progress = Callable[[int, int], None]
"""Told after each sample: how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of the model: `inputs` by name, exactly as the model takes them; `target` where there is a label.

    key names it for people and for pairing (a file name, or the index).
    """

    key: str
    inputs: dict[str, np.ndarray]
    target: object = None


class DataSet(Protocol):
    """Samples in a fixed order; iterating twice gives the same."""

    @property
    def name(self) -> str:
        """What the user called it (a path)."""

    @property
    def has_targets(self) -> bool:
        """Whether samples carry targets."""

    @property
    def fingerprint(self) -> str:
        """A hash of the content (or of what identifies it), for records."""

    def __len__(self) -> int:
        """The number of samples."""

    def __iter__(self) -> Iterator[Sample]:
        """Yields the samples in order."""

    def subset(self, indices: Sequence[int]) -> DataSet:
        """Returns the data set of just these samples, in this order."""


@runtime_checkable
class PredictingData(Protocol):
    """Samples that say themselves what a model predicts for them: a task's, whose work is not one call a sample."""

    def predictions(self, run: Run) -> Iterator[Predicted]:
        """Yields each sample's prediction by `run`, in order."""

    def calls(self, *, limit: int) -> DataSet:
        """Returns at most `limit` of the calls that the samples make of the reference model, as a data set."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What was predicted for one sample, and its target."""

    key: str
    prediction: Prediction
    target: object


class Metric(Protocol):
    """A figure of merit over predictions and targets, with per-sample values so that comparisons can be paired."""

    @property
    def name(self) -> str:
        """The name users type."""

    @property
    def higher_is_better(self) -> bool:
        """The direction."""

    @property
    def is_fraction(self) -> bool:
        """Whether it is a fraction of 1, so that `1%` of it means 0.01 absolute."""

    def update(self, prediction: Prediction, target: object) -> None:
        """Adds one sample; a prediction of None counts as the worst there is."""

    def value(self) -> float:
        """The metric over all samples so far."""

    def per_sample(self) -> np.ndarray | None:
        """Returns one row per sample, float64 [n, 2]: numerator and denominator; value = sum / sum.

        For a mean over samples the denominator is 1; for an error rate over characters it is their number.
        None where the metric is not a ratio of sums (a user's function over all predictions): see `value_of`.
        """

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the metric over the samples `indices` (with repetition: what a bootstrap draws)."""


MetricFactory = Callable[[], Metric]
"""Makes a metric that has seen nothing yet; `get_metric` gives one."""
