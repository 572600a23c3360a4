"""Who decides whether a candidate is accurate enough: a metric on labelled data, or agreement with the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from strop.optimize.scoring import Scoring
from strop.quality.agreement import agreement
from strop.quality.chance import near_chance
from strop.quality.comparison import compare_evaluations
from strop.quality.contract import DataSet, Run
from strop.quality.evaluate import Evaluation, evaluate


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of a candidate: within the limit or not, in words, with the figures.

    hopeless: even the favourable end of the 95 % interval is beyond the limit, so more samples would not help;
    certified: whether the one-sided 95 % bound of the drop is within the limit too; None where that means nothing.
    """

    within: bool
    hopeless: bool
    words: str
    certified: bool | None
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class BaselineFinding:
    """What a judge says of the baseline alone; near_chance: why it is no better than guessing, None where it is."""

    words: str
    details: Mapping[str, object]
    near_chance: str | None = None


class Judge(Protocol):
    """Compares a candidate's outputs with the baseline's, on samples both run."""

    @property
    def needs_labels(self) -> bool:
        """Whether it scores against labels."""

    @property
    def limit_words(self) -> str:
        """The limit, for the plan."""

    def baseline(self, run: Run, data: DataSet) -> BaselineFinding:
        """Looks at the baseline alone."""

    def judge(self, baseline: Run, candidate: Run, data: DataSet) -> Judgement:
        """Says whether `candidate` is accurate enough on `data`."""


@dataclass(slots=True)
class MetricJudge:
    """Scores both with a metric on labelled data and holds the paired drop against a limit."""

    scoring: Scoring
    needs_labels: bool = True
    _baselines: dict[str, Evaluation] = field(default_factory=dict)

    @property
    def limit_words(self) -> str:
        """The limit, for the plan."""
        share = " of the baseline" if self.scoring.relative else ""
        return f"{self.scoring.metric().name} may lose at most {self.scoring.max_drop:g}{share}"

    def baseline(self, run: Run, data: DataSet) -> BaselineFinding:
        """Evaluates the baseline, and says where it is no better than guessing."""
        found = self._baseline(run, data)
        return BaselineFinding(f"baseline {describe(found)}", found.to_json(), near_chance(found))

    def judge(self, baseline: Run, candidate: Run, data: DataSet) -> Judgement:
        """Evaluates the candidate on the same samples and compares."""
        before = self._baseline(baseline, data)
        after = self._evaluate(candidate, data)
        found = compare_evaluations(before, after, max_drop=self.scoring.max_drop, relative=self.scoring.relative)
        words = (
            f"{describe(before)} -> {after.value.point:.4g}, drop {found.drop:+.4g} "
            f"(at most {found.bound:.4g} with 95 %), {found.verdict}"
        )
        details = {"before": before.to_json(), "after": after.to_json(), **found.to_json()}
        sign = -1.0 if before.metric.higher_is_better else 1.0
        least_drop = min(sign * found.difference.low, sign * found.difference.high)
        hopeless = found.limit is not None and least_drop > found.limit
        return Judgement(found.within, hopeless, words, found.certified, details)

    def _evaluate(self, run: Run, data: DataSet) -> Evaluation:
        return evaluate(run, data, decode=self.scoring.decode, metric=self.scoring.metric)

    def _baseline(self, run: Run, data: DataSet) -> Evaluation:
        # The baseline is deterministic and its data set named by content, so one evaluation serves every candidate.
        if data.fingerprint not in self._baselines:
            self._baselines[data.fingerprint] = self._evaluate(run, data)
        return self._baselines[data.fingerprint]


@dataclass(frozen=True, slots=True)
class AgreementJudge:
    """Without labels: how often the candidate's top answer is the original's, and how far its outputs are off."""

    least: float
    needs_labels: bool = False

    @property
    def limit_words(self) -> str:
        """The limit, for the plan."""
        return f"agreement with the original at least {self.least:.4g}"

    def baseline(self, run: Run, data: DataSet) -> BaselineFinding:
        """Has nothing to say: without labels the baseline is the truth."""
        return BaselineFinding("", {})

    def judge(self, baseline: Run, candidate: Run, data: DataSet) -> Judgement:
        """Runs both on the same samples and compares the outputs."""
        found = agreement(baseline, candidate, data)
        within = found.agreeing.point >= self.least and not found.not_finite
        share = found.agreeing
        words = (
            f"agrees with the original on {share.point:.2%} of {share.n} samples ({share.low:.2%} to "
            f"{share.high:.2%}), relative L2 {found.relative_l2:.2g}"
        )
        if not within:
            words += f", limit {self.least:.2%}"
        return Judgement(within, share.high < self.least, words, None, found.to_json() | {"limit": self.least})


def describe(evaluation: Evaluation) -> str:
    """Returns `top1 0.719 (0.694 to 0.743, n=1300)`."""
    value = evaluation.value
    return f"{evaluation.metric.name} {value.point:.4g} ({value.low:.4g} to {value.high:.4g}, n={evaluation.n})"
