"""Two streams against one: python -m benchmarks.streams [--networks a,b] [--seconds 10] [--engine native]

The same network in two processes, one with one stream of one thread, one with as many streams as --streams, each of one
thread; windows of requests take turns, so that both meet the same disturbances. A line a network: inferences a second
with one stream, with all, and the ratio with its 99 % interval from the same rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.networks.registry import NETWORKS, known_networks, network_file
from strop.engines.contract import Settings
from strop.engines.remote import RemoteModel, open_remote
from strop.errors import StropError
from strop.machine import machine
from strop.measure.comparison import compare_blocks


def measure(name: str, engine: str, streams: int, seconds: float, models: Path | None) -> str:
    """Returns the line of a network."""
    network = NETWORKS[name]
    file, inputs = network_file(network, models), network.inputs()

    def opened(count: int) -> RemoteModel:
        settings = Settings(threads=count, streams=count, precision="f32", objective="throughput")
        return open_remote(file, engine, settings, inputs=inputs)

    with ExitStack() as stack:
        one, many = stack.enter_context(opened(1)), stack.enter_context(opened(streams))
        turns = {
            "one": one.throughput_turn(requests=2),
            "many": many.throughput_turn(requests=2 * streams),
        }
        compared = compare_blocks(turns, seconds=seconds)
    ratio = compared["many"].speedup.ratio
    rates = [1 / compared[key].estimate.point for key in ("one", "many")]
    return (
        f"{network.title:24} {rates[0]:10.1f} {rates[1]:12.1f}     "
        f"{ratio.point:.3f} ({ratio.low:.3f} to {ratio.high:.3f}), {ratio.n} rounds"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=known_networks, default=list(NETWORKS), help="names, separated by commas")
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="of turns, a network")
    parser.add_argument("--engine", default="native")
    parser.add_argument("--models", type=Path, help="folder of the networks (default: in Strop's cache folder)")
    options = parser.parse_args(words)
    print(f"inferences a second on {options.engine}, {machine().cpu_name}, {machine().cores} cores")
    print(f"{'network':24} {'one stream':>10} {options.streams:>4} streams     ratio")
    for name in options.networks:
        try:
            print(measure(name, options.engine, options.streams, options.seconds, options.models), flush=True)
        except StropError as error:
            print(f"{name:24} {error.what}", flush=True)


if __name__ == "__main__":
    main()
