"""What to do next with a model, each sentence with the figures measured for it on this machine.

Does: checks a model on this machine in half a minute (`checks.py`), or reads a study, and turns what was found and
what the user has (data, labels, a training pipeline, time, a limit) into recommendations; one rule a file, in the
order of the guide: conversion, post-training quantization, accuracy control, training-time compression, deployment,
and when not to.
Does not: change the model; say anything that was not measured or does not hold by itself.
Start reading at: `rules.py`, then `situation.py`.
"""
