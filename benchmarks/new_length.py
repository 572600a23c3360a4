"""What a sequence length that was not seen before costs MiniLM: `python -m benchmarks.new_length`.

One process, one thread, the model's length free: 20 lengths, each called for the first time and then three times more;
the cost is what the first call takes beyond the quickest of those. The first two lengths, which make the code, are
left out.
"""

from __future__ import annotations

import numpy as np

import strop
from benchmarks.networks.inputs import sentence
from benchmarks.networks.minilm import VOCABULARY
from benchmarks.networks.registry import NETWORKS, network_file
from strop.measure.clock import now

LENGTHS = (128, 64, 200, 33, 57, 90, 111, 17, 256, 301, 77, 5, 140, 199, 402, 12, 48, 66, 350, 73)


def main() -> None:
    """Prints each length's cost and their 10th percentile and median."""
    costs = []
    with strop.compile(str(network_file(NETWORKS["minilm_l6"])), engine="native", threads=1) as model:
        for length in LENGTHS:
            inputs = sentence(VOCABULARY, length, seed=length)
            seconds = []
            for _ in range(4):
                began = now()
                model(inputs)
                seconds.append(now() - began)
            costs.append(1e3 * (seconds[0] - min(seconds[1:])))
    print(", ".join(f"{length}: {cost:.1f} ms" for length, cost in zip(LENGTHS, costs, strict=True)))
    later = costs[2:]
    print(f"a new length: 10th percentile {np.percentile(later, 10):.1f} ms, median {np.median(later):.1f} ms")


if __name__ == "__main__":
    main()
