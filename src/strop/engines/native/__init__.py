"""Our own compiler as an engine, and what it leaves to ONNX Runtime.

Does: cut a model into segments (machine code where there is a kernel, ONNX Runtime elsewhere), keep one route through
them per shape of the inputs, run requests, find finished images in the cache before the model is read.
Does not: compile (strop.compiler), map or call machine code (strop.loader).
Start reading at: `engine.py`.
"""
