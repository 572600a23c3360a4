"""The rules in the order their advice is given: what must hold first, the guide's order, deployment, when not to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from strop.optimize.advice.bandwidth import advise_on_bound
from strop.optimize.advice.batching import advise_on_batching
from strop.optimize.advice.conversion import advise_on_engine
from strop.optimize.advice.first_inference import advise_on_first_inference
from strop.optimize.advice.half_precision import advise_on_half_precision
from strop.optimize.advice.memory import advise_on_memory
from strop.optimize.advice.overhead import advise_on_overhead
from strop.optimize.advice.precondition import advise_on_precondition
from strop.optimize.advice.quantization import advise_on_quantization
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation
from strop.optimize.advice.sparsity import advise_on_sparsity
from strop.optimize.advice.streams import advise_on_streams
from strop.optimize.advice.threads import advise_on_threads
from strop.optimize.advice.training import advise_on_training
from strop.optimize.advice.use_case import advise_on_use_case

Rule = Callable[[Situation], list[Recommendation]]

RULES: Sequence[Rule] = (
    advise_on_precondition,
    advise_on_engine,
    advise_on_quantization,
    advise_on_training,
    advise_on_use_case,
    advise_on_overhead,
    advise_on_bound,
    advise_on_threads,
    advise_on_streams,
    advise_on_batching,
    advise_on_first_inference,
    advise_on_memory,
    advise_on_half_precision,
    advise_on_sparsity,
)


def recommend(situation: Situation) -> list[Recommendation]:
    """Returns all advice; where the model is no better than guessing, only that."""
    first = RULES[0](situation)
    if any(one.kind == "do" for one in first):
        return first
    return [*first, *(one for rule in RULES[1:] for one in rule(situation))]
