"""A task: where somebody speaks. One call a frame of sound, and the state that a call gives goes into the next.

    strop optimize silero_vad.onnx --task docs/examples/voice_activity.py:VoiceActivity -o vad.strop

The model takes `input` [1, samples], `state` [2, 1, 128] and `sr`, and gives `output` [1, 1] and `stateN`, as Silero's
does. The sound is made here: a hum that comes and goes in noise. With recordings, only `samples` changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

RATE, FRAME, CONTEXT = 16000, 512, 64
RECORDINGS, FRAMES = 6, 40


class VoiceActivity:
    """F1 over frames; a prediction holds 0 or 1 for each frame."""

    metric = "f1"

    def samples(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (sound, whether each frame is speech)."""
        generator = np.random.default_rng(0)
        for _ in range(RECORDINGS):
            speaks = np.repeat(generator.random(FRAMES // 5) < 0.5, 5)
            hum = np.sin(2 * np.pi * 150 / RATE * np.arange(FRAMES * FRAME)) * np.repeat(speaks, FRAME)
            noise = generator.normal(0, 0.02, FRAMES * FRAME)
            yield (0.5 * hum + noise).astype(np.float32), speaks.astype(np.int8)

    def predict(self, run, sample) -> np.ndarray:
        """Returns the decision for each frame, the state threaded through the calls."""
        state, context = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32)
        decisions = []
        for start in range(0, len(sample) - FRAME + 1, FRAME):
            frame = sample[start : start + FRAME]
            with_context = np.concatenate([context, frame])[np.newaxis]
            outputs = run({"input": with_context, "state": state, "sr": np.array(RATE, np.int64)})
            state, context = outputs["stateN"], frame[-CONTEXT:]
            decisions.append(int(outputs["output"][0, 0] >= 0.5))
        return np.array(decisions, np.int8)
