"""Accuracy: data sets, decoding, metrics, evaluation with intervals, and how far two models' outputs lie apart.

Does: reads samples and labels (`open_data`), turns outputs into predictions (`get_decoder`) and scores them
(`get_metric`, `evaluate`), compares two models on the same samples (`compare_evaluations`), with labels or without
(`agreement`), and says when a baseline is no better than guessing (`near_chance`). Everything streams; whatever is
drawn at random is seeded; a figure carries its n and its interval.
Does not: run models itself (it takes a callable), know an engine, or decide what to do with a verdict.
Start reading at: contract.py for the words, then evaluate.py; data.py for what users may pass as data.
"""
