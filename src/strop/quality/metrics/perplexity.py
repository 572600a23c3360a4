"""Perplexity: e to the mean negative log-likelihood of a token: `perplexity`. Lower is better.

A prediction is either the scores of each position, [tokens, vocabulary] (logits or log-probabilities: a softmax over
the vocabulary is taken), or the natural log-likelihood of each target token, [tokens]. Targets are token numbers;
positions whose target is -100 do not count (PyTorch's convention). Position i of the scores is held against position i
of the target: a causal model's targets must be shifted by one already.
"""

from __future__ import annotations

import math

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.base import unsuitable
from strop.quality.metrics.drawn import DrawnMetric

IGNORED = -100


class Perplexity(DrawnMetric):
    """Sums negative log-likelihoods and tokens; a sample without prediction makes it infinite."""

    name = "perplexity"
    higher_is_better = False
    is_fraction = False

    def __init__(self) -> None:
        super().__init__()
        self._sums: list[tuple[float, float]] = []

    def add(self, prediction: Prediction, target: object) -> None:
        """Keeps the sample's negative log-likelihood and its number of tokens."""
        tokens = np.asarray(target).reshape(-1)
        if tokens.dtype.kind not in "iu":
            raise unsuitable(
                self.name, "targets are no token numbers", got=tokens.dtype, expected="whole numbers", hint="give ids"
            )
        counted = tokens != IGNORED
        count = float(counted.sum())
        if prediction is None:
            self._sums.append((math.inf if count else 0.0, count))
            return
        likelihoods = self._likelihoods(np.asarray(prediction), tokens, counted)
        lost = float(-likelihoods.sum())
        self._sums.append((math.inf if math.isnan(lost) else lost, count))

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the perplexity over the tokens of the samples `indices`."""
        lost, count = np.asarray(self._sums)[indices].sum(axis=0)
        if count == 0:
            return 1.0
        with np.errstate(over="ignore"):
            return float(np.exp(lost / count))

    def _likelihoods(self, scores: np.ndarray, tokens: np.ndarray, counted: np.ndarray) -> np.ndarray:
        if scores.dtype.kind == "f" and scores.size == tokens.size:
            likelihoods: np.ndarray = scores.reshape(-1).astype(np.float64)[counted]
            if (likelihoods > 1e-6).any():
                raise unsuitable(
                    self.name,
                    "log-likelihoods are above 0",
                    got=float(likelihoods.max()),
                    expected="at most 0, or scores [tokens, vocabulary]",
                    hint="give natural logarithms of probabilities",
                )
            return likelihoods
        scores = scores.reshape(-1, scores.shape[-1]) if scores.ndim else scores
        if scores.dtype.kind != "f" or scores.ndim != 2 or len(scores) != len(tokens):
            raise unsuitable(
                self.name,
                "prediction and target do not go together",
                got=f"{scores.dtype} {list(scores.shape)}",
                expected=f"[{len(tokens)}, vocabulary] scores for {len(tokens)} tokens",
                hint="decode with identity; shift the targets in the data",
            )
        chosen = tokens[counted]
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < scores.shape[1]):
            raise unsuitable(
                self.name,
                "a target is no token of the vocabulary",
                got=int(chosen.max()) if chosen.max() >= scores.shape[1] else int(chosen.min()),
                expected=f"0 to {scores.shape[1] - 1}, or {IGNORED} for what does not count",
                hint="check that tokenizer and model belong together",
            )
        rows = scores[counted].astype(np.float64)
        with np.errstate(invalid="ignore"):  # rows of -inf only: NaN, which counts as infinitely unlikely
            rows = rows - rows.max(axis=1, keepdims=True, initial=-np.inf)
            picked: np.ndarray = rows[np.arange(len(chosen)), chosen] - np.log(np.exp(rows).sum(axis=1))
        return picked
