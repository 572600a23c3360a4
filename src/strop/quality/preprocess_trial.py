"""Which preprocessing a model was meant for: the named presets, in both channel orders and value ranges, tried out.

Most baselines near chance are right models fed wrongly: another mean, BGR for RGB, 0..255 for 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from strop.measure.estimate import Estimate
from strop.model.preprocess import PRESETS, Preprocess
from strop.quality.chance import near_chance
from strop.quality.contract import Decode, MetricFactory, Run
from strop.quality.data import Data
from strop.quality.evaluate import evaluate
from strop.quality.split import evenly_spread

SAMPLES = 200
FIRST_SAMPLES = 50
"""After so many, those that are sure to be worse than the best are tried no further."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One way to feed the model, and what it gives on `value.n` samples; near_chance: why that is no better than
    guessing, None where it is."""

    name: str
    preprocess: Preprocess
    value: Estimate
    near_chance: str | None

    @property
    def words(self) -> str:
        """A row of a table."""
        value = self.value
        verdict = "near chance" if self.near_chance else "better than chance"
        return f"{self.name:<22} {value.point:.4f} ({value.low:.4f} to {value.high:.4f}, n={value.n})  {verdict}"

    def to_json(self) -> dict[str, object]:
        """Returns name, option, value and verdict as a JSON object."""
        return {
            "name": self.name,
            "preprocess": str(self.preprocess),
            "value": self.value.to_json(),
            "near_chance": self.near_chance,
        }


def try_preprocessing(
    run: Run,
    data: Data,
    *,
    decode: Decode,
    metric: MetricFactory,
    samples: int = SAMPLES,
    on_try: Callable[[str], None] = lambda words: None,
) -> list[Tried]:
    """Returns what each way to feed the model gives on `samples` samples of image data, the best first.

    Size, crop and layout stay as the data are prepared now; arithmetic and channel order are varied. Those that are
    hopeless after FIRST_SAMPLES stay at that.
    """
    assert data.preprocess is not None
    metric_of_it = metric()
    sign = 1.0 if metric_of_it.higher_is_better else -1.0

    def tried(name: str, preprocess: Preprocess, count: int) -> Tried:
        on_try(f"preprocessing {name} on {min(count, len(data))} samples")
        found = evaluate(run, evenly_spread(data.with_preprocess(preprocess), count), decode=decode, metric=metric)
        return Tried(name, preprocess, found.value, near_chance(found))

    rows = [tried(name, preprocess, FIRST_SAMPLES) for name, preprocess in variants(data.preprocess).items()]
    if samples > FIRST_SAMPLES and len(data) > FIRST_SAMPLES:
        floor = max(min(sign * row.value.low, sign * row.value.high) for row in rows)
        rows = [
            tried(row.name, row.preprocess, samples)
            if max(sign * row.value.low, sign * row.value.high) >= floor
            else row
            for row in rows
        ]
    return sorted(rows, key=lambda row: -sign * row.value.point)


def variants(base: Preprocess) -> dict[str, Preprocess]:
    """Returns the ways to try, by name: each preset in RGB and BGR, from 0..1 and, with its mean alone, from 0..255.

    Example:
        >>> list(variants(Preprocess.parse("imagenet")))[:3]
        ['imagenet, RGB', 'imagenet, BGR', 'imagenet 0..255, RGB']
    """
    found: dict[str, Preprocess] = {}
    orders: tuple[Literal["RGB", "BGR", "GRAY"], ...] = ("GRAY",) if base.channels == "GRAY" else ("RGB", "BGR")
    for name, text in PRESETS.items():
        preset = Preprocess.parse(text)
        if base.channels == "GRAY" and len(preset.mean) > 1:
            continue
        for suffix, scale, mean, std in (
            ("", preset.scale, preset.mean, preset.std),
            (" 0..255", 1.0, tuple(255 * m for m in preset.mean), ()),
        ):
            if suffix and not preset.mean:
                continue  # raw255 is that already
            for order in orders:
                # A mean belongs to its colour: in BGR it is turned round, too.
                turned = order == "BGR"
                found[f"{name}{suffix}, {order}"] = replace(
                    base,
                    scale=scale,
                    mean=mean[::-1] if turned else mean,
                    std=std[::-1] if turned else std,
                    channels=order,
                )
    return found
