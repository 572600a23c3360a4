"""Many requests at once on the fastest engine: streams, batching, and streams where calls come one at a time."""

from __future__ import annotations

from contextlib import ExitStack

from strop.machine import machine
from strop.optimize.advice.examination import Examination, inverted
from strop.optimize.benchmark_curve import has_free_batch

BATCH = 4


def check_load(examination: Examination) -> None:
    """Finds `streams`, `batch` and `synchronous`."""
    cores = machine().cores
    with ExitStack() as stack:
        many = examination.open(stack, examination.best, threads=cores, streams=cores, objective="throughput")
        turns = {"many": many.throughput_turn()}
        if cores > 1:
            one = examination.open(stack, examination.best, threads=cores, streams=1, objective="throughput")
            turns["one"] = one.throughput_turn()
        if has_free_batch(examination.model.inputs):
            batched = examination.open(
                stack, examination.best, batch=BATCH, threads=cores, streams=cores, objective="throughput"
            )
            turns["batch"] = batched.throughput_turn()
        if len(turns) == 1:
            return
        raced = examination.race(turns, requests=6)
        if "batch" in raced:
            examination.found["batch"] = raced["batch"].speedup
            examination.found["batch_size"] = BATCH
        if cores > 1:
            examination.found["streams"] = inverted(raced["one"].speedup)
            examination.found["synchronous"] = examination.race({"one": one, "many": many})["many"].speedup
