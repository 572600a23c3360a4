"""How good the cost model's choices are here: python -m benchmarks.fit_costs [--networks a,b] [--seconds 60] [--rows]

Every network's distinct problems are measured as tuning does, all candidates in turns (records go to the folder
--records, where a second run finds them). Then, a line a network: the regret, how much more time its tasks take as the
cost model chooses than as the best candidate does that suits the weights. A line a kernel family: measured over
estimated seconds of all candidates (10th percentile, median, 90th; 1 where the constants are right; what matters for
choices is that families agree and that the spread is small), and the family's own regret, of schedule alone. --rows:
each problem that loses more than 3 %, with its candidates. On a loaded machine only regrets of short runs mean much:
all candidates then are slower than estimated by about the same factor.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.networks.registry import NETWORKS, network_file
from strop.compiler.choose import Offer
from strop.compiler.isa.table import Isa, get_isa
from strop.compiler.kernels.contract import WeightCheck
from strop.compiler.levels import Convolve
from strop.compiler.object_cache import ObjectCache
from strop.compiler.plan import PlanTask
from strop.compiler.program import CompileSettings, plan_program
from strop.compiler.records import Record, Records
from strop.compiler.tune import candidates, tune_plan
from strop.errors import NotSupportedError
from strop.loader.cpu import isa_levels
from strop.machine import cache_directory
from strop.model.load import load_model


@dataclass(frozen=True, slots=True)
class Row:
    """A task of a network whose candidates were measured."""

    task: PlanTask
    offers: tuple[Offer, ...]
    record: Record

    @property
    def chosen(self) -> float:
        """Seconds of what the cost model takes."""
        return self.record.seconds[self.task.kernel.family, str(self.task.schedule)]

    @property
    def best(self) -> float:
        """Seconds of the quickest candidate."""
        return min(self.record.seconds.values())

    @property
    def best_of_family(self) -> float:
        """Seconds of the quickest schedule of the family that was taken."""
        return min(seconds for (family, _), seconds in self.record.seconds.items() if family == self.task.kernel.family)


def rows_of(name: str, isa: Isa, records: Records, seconds: float, models: Path | None) -> list[Row]:
    """Returns the tasks of a network that leave a choice, measured."""
    plan = plan_program(load_model(network_file(NETWORKS[name], models)), CompileSettings(isa.level))
    tune_plan(plan, records, budget=seconds, cache=ObjectCache())
    rows = []
    for task in plan.tasks:
        record = records.find(task.problem)
        if record is None or (task.kernel.family, str(task.schedule)) not in record.seconds:
            continue
        offers = tuple(offer for offer in candidates(task, isa) if _suits(task, offer))
        kept = {offer.key for offer in offers}
        own = {key: time for key, time in record.seconds.items() if key in kept}
        rows.append(Row(task, offers, Record(own, record.rounds)))
    return rows


def _suits(task: PlanTask, offer: Offer) -> bool:
    """Whether a kernel's error bound holds for the task's weights."""
    core = None if task.step.operation is None else task.step.operation.core
    if not isinstance(offer.kernel, WeightCheck) or not isinstance(core, Convolve):
        return True
    return not offer.kernel.suits(task.problem, core.weights)


def regret(rows: Iterable[Row]) -> tuple[float, float]:
    """Returns how much more time they take than at best, and than with the best schedule of the same family."""
    found = list(rows)
    chosen = sum(row.chosen for row in found)
    return chosen / sum(row.best for row in found) - 1, chosen / sum(row.best_of_family for row in found) - 1


def main(words: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=lambda text: text.split(","), default=list(NETWORKS))
    parser.add_argument("--isa", default=isa_levels()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring, a network")
    parser.add_argument("--records", type=Path, default=cache_directory() / "records")
    parser.add_argument("--models", type=Path, help="folder of the networks (default: in Strop's cache folder)")
    parser.add_argument("--rows", action="store_true")
    options = parser.parse_args(words)
    isa = get_isa(options.isa)
    records = Records(isa, options.records)
    everything: list[Row] = []
    print(f"network            tasks   chosen ms     regret  of schedule alone   ({isa.level}, one thread)")
    for name in options.networks:
        try:
            rows = rows_of(name, isa, records, options.seconds, options.models)
        except NotSupportedError as error:
            print(f"{name:18} {error.what}")
            continue
        if not rows:
            print(f"{name:18} nothing to choose")
            continue
        whole, own = regret(rows)
        total = sum(row.chosen for row in rows)
        print(f"{name:18} {len(rows):5} {total * 1e3:11.3f} {whole:10.1%} {own:18.1%}", flush=True)
        if options.rows:
            for row in sorted(rows, key=lambda row: row.best - row.chosen):
                if row.chosen - row.best > 0.03 * row.best and row.chosen - row.best > 0.001 * total:
                    print(_details(row))
        everything += rows
    print("\nfamily               candidates   measured / estimated: 10 %  median    90 %     regret of schedules")
    for line in _families(everything):
        print(line)


def _families(rows: Sequence[Row]) -> list[str]:
    ratios: dict[str, list[float]] = defaultdict(list)
    seen: set[str] = set()
    for row in rows:
        name = repr(row.task.problem)
        if name in seen:
            continue
        seen.add(name)
        for offer in row.offers:
            if offer.key in row.record.seconds:
                ratios[offer.kernel.family].append(row.record.seconds[offer.key] / offer.seconds)
    lines = []
    for family, own in sorted(ratios.items()):
        low, middle, high = np.percentile(own, [10, 50, 90])
        taken = [row for row in rows if row.task.kernel.family == family]
        lost = f"{regret(taken)[1]:10.1%}" if taken else "          "
        lines.append(f"{family:22} {len(own):8} {low:30.2f} {middle:7.2f} {high:7.2f} {lost:>15}")
    return lines


def _details(row: Row) -> str:
    estimates = {offer.key: offer.seconds for offer in row.offers}
    tried = sorted(row.record.seconds.items(), key=lambda pair: pair[1])
    parts = []
    for key, seconds in tried[:6]:
        mark = "*" if key == (row.task.kernel.family, str(row.task.schedule)) else ""
        parts.append(f"{mark}{key[0]} {key[1]} {seconds * 1e6:.0f} ({estimates.get(key, 0) * 1e6:.0f})")
    return f"    {row.chosen / row.best - 1:6.1%} {row.task.step.name}: {' | '.join(parts)}"


if __name__ == "__main__":
    main()
