"""What a run is going to do with its samples and its time, worked out before it does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from strop.measure.rounds import rounds_needed
from strop.optimize.budget import Budget
from strop.quality.contract import DataSet
from strop.quality.split import evenly_spread

CALIBRATION_SAMPLES = 300
RACE_SECONDS = 3.0
SHORTEST_RACE_SECONDS = 0.5
CONFIRMATION_RACE_SECONDS = 8.0
OTHER_RACE_SECONDS = 4.0
"""For throughput where latency is the objective, and the other way round."""
LEAST_TURNS = 2 + rounds_needed(0.99)
"""Of each side in the shortest race that earns a verdict: two to warm up, then the rounds."""
FEWEST_REQUESTS = {"latency": 1, "throughput": 6}
"""In a turn: one, or a window of two for each stream between one that fills the streams and one that drains them."""
CONFIRMING_REQUESTS = 16
"""Besides the race: first requests, throughput of both, two samples evaluated with both."""
FRESH_PROCESSES = 6
"""Of the baseline and of the bundle each: five for the first inference, one for the race."""
FEW_LABELS = 300
"""Below this, an accuracy limit of a point or less can hardly be told from luck."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How the samples are divided; no sample serves two purposes unless there are too few (`overlap`)."""

    calibration: int
    choosing: int
    confirmation: int
    overlap: bool = False

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return asdict(self)


def divide(total: int, *, quantizing: bool) -> Shares:
    """Returns the shares: a quarter (at most 300) for calibration, of the rest a third to choose, two to confirm."""
    if total < 6:
        return Shares(total if quantizing else 0, total, total, overlap=True)
    calibration = min(CALIBRATION_SAMPLES, total // 4) if quantizing else 0
    choosing = (total - calibration) // 3
    return Shares(calibration, choosing, total - calibration - choosing)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected seconds of each part, and the largest memory (bytes, all processes together)."""

    search_seconds: float
    quantization_seconds: float
    evaluation_seconds: float
    refinement_seconds: float
    confirmation_seconds: float
    memory_bytes: int

    @property
    def seconds(self) -> float:
        """Returns the whole."""
        search = self.search_seconds + self.quantization_seconds + self.evaluation_seconds + self.refinement_seconds
        return search + self.confirmation_seconds

    def to_json(self) -> dict[str, object]:
        """Returns the parts and the whole as a JSON object."""
        return {
            "seconds": round(self.seconds, 1),
            "search_seconds": round(self.search_seconds, 1),
            "quantization_seconds": round(self.quantization_seconds, 1),
            "evaluation_seconds": round(self.evaluation_seconds, 1),
            "refinement_seconds": round(self.refinement_seconds, 1),
            "confirmation_seconds": round(self.confirmation_seconds, 1),
            "memory_mb": round(self.memory_bytes / 1e6),
        }


def fit_shares(shares: Shares, sample_seconds: float, budget: Budget) -> Shares:
    """Returns the shares cut to what the budget allows, the confirmation last.

    sample_seconds: what it takes to read, run and score one sample. A calibration sample costs about three of them for
    each of two INT8 forms, a choosing sample one for each candidate that is evaluated (reckoned as three), a
    confirmation sample one each for the baseline and the bundle.
    """
    if budget.seconds is None:
        return shares
    calibration_limit = 0.15 * budget.for_search / (6 * sample_seconds)
    choosing_limit = 0.25 * budget.for_search / (3 * sample_seconds)
    confirmation_limit = 0.4 * budget.reserved / (2 * sample_seconds)
    return Shares(
        min(shares.calibration, max(1, int(calibration_limit))) if shares.calibration else 0,
        min(shares.choosing, max(2, int(choosing_limit))),
        min(shares.confirmation, max(2, int(confirmation_limit))),
        shares.overlap,
    )


def fit_to_time(data: DataSet, sample_seconds: float, seconds: float) -> DataSet:
    """Returns as many samples of `data`, evenly spread, as two models can be evaluated on in half of `seconds`."""
    count = max(2.0, 0.5 * seconds / (2 * sample_seconds))
    return data if count >= len(data) else evenly_spread(data, int(count))
