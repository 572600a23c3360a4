"""A task: how alike two sentences are. Two calls of an encoder a sample, then the cosine of the two means.

    strop optimize encoder.onnx --task docs/examples/sentence_pairs.py:SentencePairs -o encoder.strop

The encoder takes `ids` [1, tokens] (int64) and gives `vectors`, one per token, [1, tokens, n]. The words' numbers stand
for a tokenizer here; with a real one, only `encode` changes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

VOCABULARY = 512
PAIRS = (
    ("a man is playing a flute", "a man is playing a large flute", 4.2),
    ("a cat sits on the mat", "a cat is on the mat", 4.6),
    ("the stock fell on friday", "the stock rose on friday", 2.6),
    ("two dogs run in the snow", "a woman slices an onion", 0.0),
    ("a plane is taking off", "an air plane is taking off", 5.0),
    ("a girl is styling her hair", "a girl is brushing her hair", 2.5),
    ("the road is long", "he reads a book", 0.2),
    ("a boy plays the guitar", "a boy is playing a guitar", 4.8),
)


class SentencePairs:
    """Spearman's correlation of cosine and human score; the metric gives the direction, so no `score` is needed."""

    metric = "spearman"

    def samples(self) -> Iterator[tuple[object, float]]:
        """Yields ((ids of one sentence, ids of the other), the score people gave)."""
        for first, second, score in PAIRS:
            yield (encode(first), encode(second)), score

    def predict(self, run, sample) -> float:
        """Returns the cosine of the mean token vectors."""
        first, second = (run({"ids": ids})["vectors"][0].mean(axis=0) for ids in sample)
        return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def encode(text: str) -> np.ndarray:
    """Returns the numbers of the words, [1, words]."""
    return np.array([[zlib.crc32(word.encode()) % VOCABULARY for word in text.split()]], np.int64)
