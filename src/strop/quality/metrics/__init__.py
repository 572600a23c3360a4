"""Metrics, one a file: predictions against targets, with one row per sample so that comparisons are paired.

Does: scores predictions; a missing one (None) counts as the worst there is.
Does not: decode outputs (decoders), or put intervals round values (evaluate.py).
Start reading at: base.py.
"""
