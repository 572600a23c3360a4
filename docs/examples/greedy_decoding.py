"""A task: text, decoded step by step. Each call sees all that was written so far, and its best next token is appended.

    strop optimize decoder.onnx --task docs/examples/greedy_decoding.py:GreedyDecoding -o decoder.strop

The model takes `ids` [1, tokens] (int64) and gives `logits` [1, tokens, vocabulary].
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

END, LONGEST = 0, 12
PROMPTS = ((3, 5), (7,), (2, 9, 4), (6, 1), (8, 8))


class GreedyDecoding:
    """The share of texts that come out as they should, to the last token."""

    higher_is_better = True
    is_fraction = True  # so that --max-drop 1% means 0.01

    def samples(self) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        """Yields (prompt, the right continuation): the tokens count down to the end."""
        for prompt in PROMPTS:
            yield prompt, list(range(prompt[-1] - 1, -1, -1))

    def predict(self, run, sample) -> list[int]:
        """Returns the tokens after the prompt, the end included."""
        tokens = list(sample)
        while tokens[-1] != END and len(tokens) < LONGEST:
            logits = run({"ids": np.array([tokens], np.int64)})["logits"]
            tokens.append(int(logits[0, -1].argmax()))
        return tokens[len(sample) :]

    def score(self, predictions, targets) -> float:
        """Returns the share of exact texts."""
        return sum(prediction == target for prediction, target in zip(predictions, targets, strict=True)) / len(targets)
