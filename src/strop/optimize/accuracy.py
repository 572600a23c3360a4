"""Who decides whether a candidate is accurate enough: a metric on labelled data, or agreement with the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from strop.errors import UsageError
from strop.optimize.scoring import GroupSource, Scoring
from strop.optimize.step_zero import check_reproduced, parse_expected
from strop.quality.agreement import AgreementReport, agreement
from strop.quality.chance import near_chance
from strop.quality.comparison import compare_evaluations
from strop.quality.contract import DataSet, Run
from strop.quality.evaluate import Evaluation, evaluate
from strop.quality.flips import agreement_flips, flips_report
from strop.quality.groups import read_groups
from strop.quality.sample_size import SamplePlan, plan_samples
from strop.quality.sequential import evaluate_early
from strop.quality.slices import slices_report


def _nobody(words: str) -> None:
    """Hears nothing."""


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


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in the last comparison: `flips` (samples) and `slices` (classes or groups), as JSON objects.

    None where nothing was compared, or there is nothing to slice.
    """

    flips: Mapping[str, object] | None = None
    slices: Mapping[str, object] | None = None


class Judge(Protocol):
    """Compares a candidate's outputs with the baseline's, on samples both run."""

    @property
    def needs_labels(self) -> bool:
        """Whether it scores against labels."""

    @property
    def limit_words(self) -> str:
        """The limit, for the plan."""

    def plan(self, samples: int) -> SamplePlan | None:
        """Returns how many samples would certify the limit, of which there are `samples`; None where none is known."""

    def baseline(self, run: Run, data: DataSet) -> BaselineFinding:
        """Looks at the baseline alone."""

    def judge(self, baseline: Run, candidate: Run, data: DataSet, *, early: bool = False) -> Judgement:
        """Says whether `candidate` is accurate enough on `data`; early: on a part of it, where that proves it."""

    def changes(self) -> Changes:
        """Returns what the last judgement saw change, sample by sample."""


@dataclass(slots=True)
class MetricJudge:
    """Scores both with a metric on labelled data and holds the paired drop against a limit.

    groups: of the samples, by key, for the worst slice; expected: what the baseline is known for; tell: hears what is
    tried where the baseline is not that.
    """

    scoring: Scoring
    groups: Mapping[str, str] | None = None
    expected: float | None = None
    tell: Callable[[str], None] | None = None
    needs_labels: bool = True
    _compared: tuple[Evaluation, Evaluation] | None = None
    _baselines: dict[str, Evaluation] = field(default_factory=dict)

    @property
    def limit_words(self) -> str:
        """The limit, for the plan."""
        share = " of the baseline" if self.scoring.relative else ""
        return f"{self.scoring.metric().name} may lose at most {self.scoring.max_drop:g}{share}"

    def baseline(self, run: Run, data: DataSet) -> BaselineFinding:
        """Evaluates the baseline; raises LimitError where it is no better than guessing, or not as good as expected."""
        found = self._baseline(run, data)
        check_reproduced(found, run, data, self.scoring, expected=self.expected, tell=self.tell or _nobody)
        return BaselineFinding(f"baseline {describe(found)}", found.to_json(), near_chance(found))

    def judge(self, baseline: Run, candidate: Run, data: DataSet, *, early: bool = False) -> Judgement:
        """Evaluates the candidate on the same samples and compares.

        early: stops where a part of the samples, in a random order, proves the drop to be within the limit or beyond;
        each is wrong with a probability of 2.5 % at most.
        """
        before, outcome = self._baseline(baseline, data), None
        if early and self.scoring.max_drop is not None:
            looked = evaluate_early(
                before,
                candidate,
                data,
                decode=self.scoring.decode,
                metric=self.scoring.metric,
                max_drop=self.scoring.max_drop,
                relative=self.scoring.relative,
            )
            before, after, outcome = looked.a, looked.b, looked.outcome
        else:
            after = self._evaluate(candidate, data)
        self._compared = (before, after)
        found = compare_evaluations(before, after, max_drop=self.scoring.max_drop, relative=self.scoring.relative)
        words = (
            f"{describe(before)} -> {after.value.point:.4g}, drop {found.drop:+.4g} "
            f"(at most {found.bound:.4g} with 95 %), {found.verdict}"
        )
        details = {"before": before.to_json(), "after": after.to_json(), **found.to_json()}
        sign = -1.0 if before.metric.higher_is_better else 1.0
        least_drop = min(sign * found.difference.low, sign * found.difference.high)
        hopeless = found.limit is not None and least_drop > found.limit
        if outcome is None:
            return Judgement(found.within, hopeless, words, found.certified, details)
        words += f"; {before.n} of {len(data)} samples were enough to tell"
        details |= {"stopped_early": {"outcome": outcome, "samples": before.n, "of": len(data)}}
        within = outcome == "within"
        return Judgement(within, not within, words, found.certified, details)

    def changes(self) -> Changes:
        """Returns flips and slices of the last two evaluations."""
        if self._compared is None:
            return Changes()
        return Changes(flips_report(*self._compared), slices_report(*self._compared, self.groups))

    def plan(self, samples: int) -> SamplePlan | None:
        """Returns how many samples would certify the limit, of which there are `samples`; None without a limit."""
        limit = self.scoring.max_drop
        metric = self.scoring.metric()
        if not limit or self.scoring.relative or not metric.is_fraction:
            return None
        return plan_samples(limit, have=samples)

    def _evaluate(self, run: Run, data: DataSet) -> Evaluation:
        return evaluate(run, data, decode=self.scoring.decode, metric=self.scoring.metric)

    def _baseline(self, run: Run, data: DataSet) -> Evaluation:
        # The baseline is deterministic and its data set named by content, so one evaluation serves every candidate.
        if data.fingerprint not in self._baselines:
            self._baselines[data.fingerprint] = self._evaluate(run, data)
        return self._baselines[data.fingerprint]


@dataclass(slots=True)
class AgreementJudge:
    """Without labels: how often the candidate's top answer is the original's, and how far its outputs are off."""

    least: float
    needs_labels: bool = False
    _compared: AgreementReport | None = None

    @property
    def limit_words(self) -> str:
        """The limit, for the plan."""
        return f"agreement with the original at least {self.least:.4g}"

    def plan(self, samples: int) -> SamplePlan | None:
        """Returns None: what is to be certified is an agreement, whose interval is said."""
        return None

    def baseline(self, run: Run, data: DataSet) -> BaselineFinding:
        """Has nothing to say: without labels the baseline is the truth."""
        return BaselineFinding("", {})

    def judge(self, baseline: Run, candidate: Run, data: DataSet, *, early: bool = False) -> Judgement:
        """Runs both on the same samples, all of them, and compares the outputs."""
        found = self._compared = agreement(baseline, candidate, data)
        within = found.agreeing.point >= self.least and not found.not_finite
        share = found.agreeing
        words = (
            f"agrees with the original on {share.point:.2%} of {share.n} samples ({share.low:.2%} to "
            f"{share.high:.2%}), relative L2 {found.relative_l2:.2g}"
        )
        if not within:
            words += f", limit {self.least:.2%}"
        return Judgement(within, share.high < self.least, words, None, found.to_json() | {"limit": self.least})

    def changes(self) -> Changes:
        """Returns the samples whose decision changed in the last comparison."""
        return Changes() if self._compared is None else Changes(agreement_flips(self._compared))


def prepare_judge(
    judge: Judge,
    data: DataSet,
    *,
    expect: str | float | None = None,
    groups: GroupSource | None = None,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Tells a judge what its baseline is known for, the samples' groups, and who hears what it tries.

    The first two need labels (else UsageError).
    """
    if isinstance(judge, MetricJudge) and tell is not None:
        judge.tell = tell
    given = {"--expect": expect, "--groups": groups}
    named = next((name for name, value in given.items() if value is not None), None)
    if named is None:
        return
    if not isinstance(judge, MetricJudge):
        raise UsageError(
            "usage.missing-labels",
            f"{named} is about a metric, and the data have no labels",
            where=data.name,
            hint="give --labels, or leave it out",
        )
    if expect is not None:
        judge.expected = parse_expected(expect, is_fraction=judge.scoring.metric().is_fraction)
    if groups is not None:
        judge.groups = read_groups(groups, data)


def describe(evaluation: Evaluation) -> str:
    """Returns `top1 0.719 (0.694 to 0.743, n=1300)`."""
    value = evaluation.value
    return f"{evaluation.metric.name} {value.point:.4g} ({value.low:.4g} to {value.high:.4g}, n={evaluation.n})"
