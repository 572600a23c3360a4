"""Decoders: what turns a model's outputs into a prediction, one a file.

Does: gives classes, rankings, yes or no, text, or the plain output; None where the outputs hold NaN.
Does not: compare with targets (metrics).
Start reading at: registry.py.
"""
