"""Voice activity by agreement: how well a form of Silero VAD decides, frame by frame, as the original on ONNX Runtime.

    strop optimize $STROP_ZOO/models/silero_vad_ifless.onnx \
        --task benchmarks/tasks/voice_activity.py:VoiceActivity -o vad.strop

The zoo has no labelled speech, so the sound is made here (a buzz through formants, in noise and silence), and
the targets are the original model's own decisions.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

RATE, FRAME, CONTEXT = 16000, 512, 64
RECORDINGS = 60
SECONDS = 4


class VoiceActivity:
    """F1 over frames against the original's decisions; the state goes from call to call."""

    metric = "f1"
    name = "frames decided as by the original"

    def __init__(self, recordings: int = RECORDINGS):
        self.recordings = recordings
        self._made: list[tuple[np.ndarray, np.ndarray]] = []

    def samples(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns (sound, the original's decision for each frame), worked out once."""
        if not self._made:
            original, generator = _original(), np.random.default_rng(0)
            sounds = [speech_like(generator, SECONDS) for _ in range(self.recordings)]
            self._made = [(sound, self.predict(original, sound)) for sound in sounds]
        return self._made

    def predict(self, run, sample: np.ndarray) -> np.ndarray:
        """Returns 0 or 1 for each frame."""
        state, context = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32)
        decisions = []
        for start in range(0, len(sample) - FRAME + 1, FRAME):
            frame = sample[start : start + FRAME]
            with_context = np.concatenate([context, frame])[np.newaxis]
            outputs = run({"input": with_context, "state": state, "sr": np.array(RATE, np.int64)})
            state, context = outputs["stateN"], frame[-CONTEXT:]
            decisions.append(int(outputs["output"][0, 0] >= 0.5))
        return np.array(decisions, np.int8)


def speech_like(generator: np.random.Generator, seconds: int) -> np.ndarray:
    """Returns sound at 16 kHz: syllables of a buzzing voice between pauses, in noise of a random level."""
    total = seconds * RATE
    sound = np.zeros(total)
    position = int(generator.integers(0, RATE // 2))
    while position < total:
        length = int(generator.integers(RATE // 10, RATE // 3))
        syllable = _syllable(generator, length)[: total - position]
        sound[position : position + len(syllable)] += syllable
        pause = RATE // 20 if generator.random() < 0.7 else RATE
        position += length + int(generator.integers(0, pause))
    sound += generator.normal(0, 10 ** generator.uniform(-4, -2), total)
    return sound.astype(np.float32)


def _syllable(generator: np.random.Generator, length: int) -> np.ndarray:
    time = np.arange(length) / RATE
    pitch = generator.uniform(90, 240) * (1 + 0.2 * generator.uniform(-1, 1) * time / max(time[-1], 1e-9))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = [generator.uniform(*band) for band in ((300, 900), (900, 2400), (2400, 3200))]
    voice = np.zeros(length)
    for harmonic in range(1, 30):
        frequency = harmonic * float(pitch.mean())
        strength = sum(1 / (1 + ((frequency - formant) / 120) ** 2) for formant in formants)
        voice += (strength + 0.02) / harmonic**0.5 * np.sin(harmonic * phase)
    return generator.uniform(0.05, 0.3) * voice * np.hanning(length)


def _original():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    path = Path(os.environ["STROP_ZOO"]) / "models" / "silero_vad_ifless.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def model_path() -> Path:
    """Returns the model's file in the zoo."""
    return Path(os.environ["STROP_ZOO"]) / "models" / "silero_vad_ifless.onnx"
