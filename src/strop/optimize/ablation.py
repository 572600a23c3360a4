"""What was gained by what: engine, precision and settings, each alone, added step by step, and all together.

All variants race in the same rounds against the baseline. The product of the steps alone times the interaction is what
they give together, exactly; an interaction near 1 says that the steps do not depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from strop.errors import LimitError, StropError
from strop.measure.comparison import Compared
from strop.measure.estimate import Speedup
from strop.optimize.racing import Contender, open_contender, race
from strop.optimize.trial import TrialSpec

if TYPE_CHECKING:
    from strop.optimize.afterwards import Confirmed
    from strop.optimize.job import Job

StepName = Literal["engine", "precision", "settings"]
STEPS: tuple[StepName, ...] = ("engine", "precision", "settings")
RACE_SECONDS_EACH = 2.5
BASELINE, TOGETHER = "baseline", "together"


@dataclass(frozen=True, slots=True)
class Variant:
    """The baseline with some of the steps taken; quantized: whether it runs the quantized form of the model."""

    steps: tuple[StepName, ...]
    spec: TrialSpec
    quantized: bool


@dataclass(slots=True)
class Plan:
    """Which variants are to be raced, by name, and why a step cannot be one: it changes nothing, or does not run."""

    variants: dict[str, Variant]
    why_not: dict[StepName, str]
    changed: tuple[StepName, ...]

    def alone(self, step: StepName) -> str:
        """Returns the name of the variant in which only this step is taken."""
        return _name((step,), self.changed)

    def added(self, step: StepName) -> str:
        """Returns the name of the variant in which this step and those before it are taken."""
        return _name(STEPS[: STEPS.index(step) + 1], self.changed)


def plan_ablation(baseline: TrialSpec, best: TrialSpec) -> Plan:
    """Returns the variants between the baseline and the best form."""
    differs = {
        "engine": best.engine != baseline.engine,
        "precision": best.precision != baseline.precision,
        "settings": bool(best.settings) or best.batch != baseline.batch,
    }
    changed = tuple(step for step in STEPS if differs[step])
    unchanged: dict[StepName, str] = {
        "engine": f"the engine is the baseline's, {baseline.engine}",
        "precision": f"the precision is the original's, {baseline.precision}",
        "settings": f"no settings were changed: {best.engine} runs with its defaults",
    }
    variants = {BASELINE: Variant((), baseline, False)}
    for steps in [(step,) for step in changed] + [changed[: count + 1] for count in range(len(changed) - 1)]:
        variants[_name(steps, changed)] = _variant(steps, baseline, best)
    variants[TOGETHER] = _variant(changed, baseline, best)
    return Plan(variants, {step: why for step, why in unchanged.items() if step not in changed}, changed)


def ablate(job: Job, confirmed: Confirmed) -> Mapping[str, Any] | None:
    """Returns the fact `ablation`, None where nothing was gained; raises LimitError where no time is left for it."""
    if not confirmed.gained:
        return None
    plan = plan_ablation(job.baseline.spec, confirmed.form.spec)
    seconds = _affordable(job, plan)
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {BASELINE: stack.enter_context(confirmed.open_before(job))}
        together = stack.enter_context(confirmed.open_after(job))
        for name, variant in list(plan.variants.items()):
            if name in (BASELINE, TOGETHER):
                continue
            job.narrator.progress(f"ablation: {name}")
            path = job.saved(confirmed.form.model) if variant.quantized else job.original
            try:
                opened = open_contender(variant.spec, path, job.timed_inputs, timeout=job.budget.patience)
                contenders[name] = stack.enter_context(opened)
            except StropError as error:
                _cannot_run(plan, name, f"{variant.spec.label} does not run: {error.in_a_line}")
        contenders[TOGETHER] = together
        _drop_what_changes_nothing(plan, contenders)
        return summarize(plan, race(contenders, seconds=seconds, kind=job.objective))


def summarize(plan: Plan, compared: Mapping[str, Compared]) -> dict[str, Any]:
    """Returns the fact `ablation` from what the race found, each variant against the baseline."""
    found = {name: one.speedup for name, one in compared.items() if name != BASELINE}
    steps = []
    for step in STEPS:
        alone, added = (found.get(name) for name in (plan.alone(step), plan.added(step)))
        taken = step not in plan.why_not
        steps.append(
            {
                "name": step,
                "words": _step_words(plan, step),
                "alone": alone.to_json() if alone and taken else None,
                "added": added.to_json() if added and step in plan.changed else None,
                "why_not": plan.why_not.get(step),
            }
        )
    together = found[TOGETHER]
    single = {step: found[plan.alone(step)] for step in plan.changed if step not in plan.why_not}
    missing = [step for step in plan.changed if step not in single and step in _effective(plan)]
    interaction = None if missing else together.ratio.point / math.prod(one.ratio.point for one in single.values())
    return {
        "steps": steps,
        "together": together.to_json(),
        "interaction": interaction,
        "words": _words(single, together, interaction, missing),
    }


def _name(steps: Sequence[StepName], changed: Sequence[StepName]) -> str:
    taken = [step for step in steps if step in changed]
    return TOGETHER if taken == list(changed) else " + ".join(taken) or BASELINE


def _variant(steps: Sequence[StepName], baseline: TrialSpec, best: TrialSpec) -> Variant:
    spec = baseline
    if "engine" in steps:
        spec = replace(spec, engine=best.engine)
    if "precision" in steps:
        spec = replace(spec, precision=best.precision)
    if "settings" in steps:
        spec = replace(spec, settings=best.settings, batch=best.batch)
    return Variant(tuple(steps), spec, "precision" in steps)


def _affordable(job: Job, plan: Plan) -> float:
    """Returns the seconds the race may take; raises LimitError (`limit.budget`) where it would tell nothing."""
    count = len(plan.variants)
    wanted = RACE_SECONDS_EACH * count
    if job.budget.seconds is None:
        return wanted
    opening = sum(job.opening_seconds(variant.spec.engine) for variant in plan.variants.values())
    shortest = job.shortest_race() * count / 2
    left = 0.5 * (job.budget.remaining - opening)
    if left < shortest:
        raise LimitError(
            "limit.budget",
            "no time is left to race the steps one by one",
            got=f"{max(0.0, job.budget.remaining):.0f} s left",
            expected=f"about {opening + 2 * shortest:.0f} s",
            hint="give a larger --budget",
        )
    return min(wanted, left)


def _cannot_run(plan: Plan, name: str, why: str) -> None:
    """Takes a variant out; where it is a step alone, that is why the step has no figure."""
    variant = plan.variants.pop(name)
    if len(variant.steps) == 1:
        plan.why_not[variant.steps[0]] = why


def _drop_what_changes_nothing(plan: Plan, contenders: dict[str, Contender]) -> None:
    """Drops the settings alone where the baseline's engine has them by default: its race would be A against A."""
    name = plan.alone("settings")
    if name not in contenders or name == TOGETHER or "settings" not in plan.changed:
        return
    alone, baseline = contenders[name], contenders[BASELINE]
    same = dict(alone.remote.settings) == dict(baseline.remote.settings)
    if same and alone.spec.batch == baseline.spec.batch:
        shown = ", ".join(f"{key} {value}" for key, value in alone.spec.settings.items())
        contenders.pop(name)
        _cannot_run(plan, name, f"{shown} is what {baseline.spec.engine} has by default")


def _effective(plan: Plan) -> list[StepName]:
    """Returns the steps that change something on the baseline's engine, whether or not they could be run alone."""
    return [step for step in plan.changed if "by default" not in plan.why_not.get(step, "")]


def _step_words(plan: Plan, step: StepName) -> str:
    best, baseline = plan.variants[TOGETHER].spec, plan.variants[BASELINE].spec
    if step not in plan.changed:
        return plan.why_not[step]
    if step == "engine":
        return f"{baseline.engine} -> {best.engine}"
    if step == "precision":
        return f"{baseline.precision} -> {best.precision}"
    shown = [f"{name} {value}" for name, value in best.settings.items()]
    return ", ".join([*shown, f"batch {best.batch}"] if best.batch != 1 else shown)


def _words(
    single: Mapping[StepName, Speedup], together: Speedup, interaction: float | None, missing: Sequence[StepName]
) -> str:
    whole = f"together {_interval(together)}"
    if not single:
        return whole
    parts = ", ".join(f"{step} alone {_interval(one)}" for step, one in single.items())
    if interaction is None:
        return f"{parts}; {whole}; {', '.join(missing)} could not be run alone, so no interaction is known"
    if len(single) == 1:
        return f"{parts}: all that was gained" if together is next(iter(single.values())) else f"{parts}; {whole}"
    low, high = (math.prod(getattr(one.ratio, end) for one in single.values()) for end in ("low", "high"))
    product = math.prod(one.ratio.point for one in single.values())
    if together.ratio.low <= high and low <= together.ratio.high:
        return f"{parts}; {whole}: their product ({product:.2f}), as far as can be told"
    more = "more" if interaction > 1 else "less"
    return f"{parts}; {whole}: {abs(interaction - 1):.0%} {more} than their product ({product:.2f})"


def _interval(speedup: Speedup) -> str:
    ratio = speedup.ratio
    return f"{ratio.point:.2f} x ({ratio.low:.2f} to {ratio.high:.2f})"
