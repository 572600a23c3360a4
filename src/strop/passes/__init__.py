"""Graph rewrites: one idea a file, and `pipeline.py` with the readable lists of which run in what order.

Does: make a graph smaller or more regular without changing what it computes (to rounding), and say which new node
came from which old ones.
Does not: choose precision (quantize), or know an engine (engines).
Start reading at: `base.Pass`, then `pipeline.py`.
"""
