"""What the networks are run on: seeded, and for images with structure at every scale."""

from __future__ import annotations

import numpy as np


def images(size: int) -> np.ndarray:
    """Returns four images [4, 3, size, size], for which activations are made sane; the first is measured."""
    return np.concatenate([image(size, seed) for seed in range(4)])


def image(size: int, seed: int) -> np.ndarray:
    """Returns an image [1, 3, size, size] of noise in six octaves: to a network all plain noise looks the same."""
    random = np.random.default_rng(seed)
    octaves = np.zeros((1, 3, size, size), np.float32)
    for halvings in range(6):
        cell = 1 << halvings
        noise = random.standard_normal((1, 3, size // cell, size // cell), np.float32)
        octaves += noise.repeat(cell, axis=2).repeat(cell, axis=3)
    return octaves / np.float32(6**0.5)


def features(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Returns standard normal values."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def sentence(words: int, length: int, seed: int) -> dict[str, np.ndarray]:
    """Returns the three inputs of a text encoder for random words, none left out."""
    tokens = np.random.default_rng(seed).integers(0, words, (1, length))
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
