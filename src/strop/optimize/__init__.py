"""The joint search: which form of a model is the fastest that keeps the accuracy, and how sure that is.

Does: compares engines on one model, benchmarks one, verifies one model against another, and searches engine x
precision x settings by racing trials, within an accuracy limit and a budget, confirming what it hands over.
Does not: time (measure), run (engines, runtime), score (quality) or quantize (quantize) by itself; print.
Start reading at: `search.py`.
"""

from strop.callable_package import make_callable

make_callable(__name__, "strop.optimize.api")
