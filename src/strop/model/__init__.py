"""The model in the house: loaded, checked, raised to a working opset; its shapes, batch, cost, preprocessing, oracle.

Does: turn any ONNX source into a `Model`, or say in one error what is wrong with it; answer questions about it.
Does not: make a model faster (passes, quantize), run it fast (engines), or print anything (cli).
Start reading at: `load.py`, then `model.py`.
"""
