"""The arithmetic of 8 bits: real = scale * (integer - zero_point), and how scale and zero point follow from a range.

Sources: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", for the nudged zero point; ONNX QuantizeLinear for the rounding (half to even).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACTIVATION_LEVELS = 255
"""Steps between the lowest and the highest value of an activation (u8)."""

SMALLEST_SCALE = float(np.float32(2.0**-100))
"""Below this the product of two scales would leave the normal float32 numbers."""


@dataclass(frozen=True, slots=True)
class Range:
    """The real values that a tensor takes, or that are worth representing."""

    low: float
    high: float

    def with_zero(self) -> Range:
        """Returns the range stretched to hold zero."""
        return Range(min(self.low, 0.0), max(self.high, 0.0))

    def union(self, other: Range) -> Range:
        """Returns the smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def intersect(self, low: float, high: float) -> Range:
        """Returns the range cut to `low`..`high`."""
        return Range(min(max(self.low, low), high), max(min(self.high, high), low))

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def width(self) -> float:
        """High minus low."""
        return self.high - self.low

    def to_json(self) -> list[float]:
        """Returns [low, high]."""
        return [self.low, self.high]


@dataclass(frozen=True, slots=True)
class ActivationScale:
    """Scale and zero point of a u8 activation."""

    scale: np.float32
    zero_point: int

    @classmethod
    def of(cls, values: Range) -> ActivationScale:
        """Returns the scale and zero point for a range; zero is exactly representable, whatever the range.

        A range that starts (or ends) at zero keeps that end exactly, and the other end is never passed:
        engines drop a Relu or Clip behind which nothing outside its bounds can be represented.
        """
        full = values.with_zero()
        if not np.isfinite([full.low, full.high]).all():
            raise ValueError(f"a range must be finite, got {full}")
        scale = np.float32(full.width / ACTIVATION_LEVELS)
        if full.width == 0.0:
            return cls(np.float32(1.0), 0)
        scale = max(scale, np.float32(SMALLEST_SCALE))
        if full.low == 0.0:
            while scale * np.float32(ACTIVATION_LEVELS) > np.float32(full.high) and scale > SMALLEST_SCALE:
                scale = np.nextafter(scale, np.float32(0.0))
        zero_point = int(np.clip(np.rint(-full.low / float(scale)), 0, ACTIVATION_LEVELS))
        return cls(scale, zero_point)

    @property
    def representable(self) -> Range:
        """What the 256 codes can hold."""
        scale = float(self.scale)
        return Range(-scale * self.zero_point, scale * (ACTIVATION_LEVELS - self.zero_point))

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Returns the u8 codes of `values`, as ONNX QuantizeLinear computes them."""
        codes = np.rint(values.astype(np.float32) / self.scale) + self.zero_point
        return np.asarray(np.clip(codes, 0, ACTIVATION_LEVELS), np.uint8)

    def dequantize(self, codes: np.ndarray) -> np.ndarray:
        """Returns the real values of u8 codes (float32)."""
        return np.asarray((codes.astype(np.float32) - np.float32(self.zero_point)) * self.scale)
