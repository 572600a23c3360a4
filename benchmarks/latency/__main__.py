"""Measures the suite: `python -m benchmarks.latency [--quick] [--threads 1 2] [--networks resnet18,mlp]`.

Takes about 20 s a network and thread count (--seconds), with --quick 5 s, whose results go to Strop's cache folder, not
to `benchmarks/results/latency`. A run that was killed goes on where it stopped when it is started again with the same
options; --fresh begins anew. --show prints the table of what is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.latency.measuring import ENGINES, measure_network
from benchmarks.latency.records import RESULTS, Document, Records
from benchmarks.latency.table import table
from benchmarks.networks.registry import NETWORKS, known_networks, network_file
from strop.engines.registry import engine_names, get_engine
from strop.machine import cache_directory, machine

SECONDS, QUICK_SECONDS = 20.0, 5.0


def main(words: Sequence[str] | None = None) -> int:
    options = _options(words)
    here = machine().fingerprint
    quick_results = cache_directory() / "benchmarks" / "latency"
    records = Records(options.output or (quick_results if options.quick else RESULTS))
    if options.show:
        _show(records.documents(), options.threads)
        return 0
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    wanted = [(name, threads) for name in options.networks for threads in options.threads]
    versions = {name: get_engine(name).available().version for name in options.engines if name in engine_names()}
    run = {"wanted": wanted, "engines": versions, "seconds": seconds, "machine": here}
    done = records.begin(run, fresh=options.fresh)
    if done:
        print(f"going on where a run was stopped: {len(done)} of {len(wanted)} are done", file=sys.stderr)
    for name, threads in wanted:
        if (name, threads) in done:
            continue
        network = NETWORKS[name]
        print(f"{network.title}, {threads} thread{'s' * (threads > 1)}", file=sys.stderr, flush=True)
        file = network_file(network, options.models)
        document = measure_network(network, file, threads=threads, seconds=seconds, engines=options.engines)
        records.add(document)
    records.finish(here)
    _show(records.documents(here), options.threads, options.networks)
    return 0


def _show(documents: Sequence[Document], threads: Sequence[int], networks: Sequence[str] = tuple(NETWORKS)) -> None:
    for count in threads:
        found = [one for one in documents if one["threads"] == count and one["network"] in networks]
        if found:
            where = found[0]["machine"]
            print(f"\n{count} thread{'s' * (count > 1)}, batch 1, float32, {where['cpu_name']} ({where['isa']})\n")
            print(table(found, list(NETWORKS)))


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.latency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    both = [count for count in (1, 2) if count <= machine().cores]
    parser.add_argument("--threads", type=int, nargs="+", default=both, help="thread counts (default: 1 and 2)")
    parser.add_argument("--networks", type=known_networks, default=list(NETWORKS), help="names, separated by commas")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES))
    parser.add_argument("--seconds", type=float, help="seconds of turns for a network and thread count")
    parser.add_argument("--quick", action="store_true", help="short turns, results not kept with the others")
    parser.add_argument("--fresh", action="store_true", help="forget what a stopped run has done")
    parser.add_argument("--show", action="store_true", help="print what was measured before, measure nothing")
    parser.add_argument("--output", type=Path, help="folder of the results")
    parser.add_argument("--models", type=Path, help="folder of the networks (default: in Strop's cache folder)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
