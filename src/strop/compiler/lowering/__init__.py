"""The rules that lower ONNX nodes to operations, by kind of operator.

Does: say for one node what operations do its work, or in words why none do.
Does not: fuse, order or place anything; fold batch normalization (the passes did).
Start reading at: `scope.py`, then `convolution.py`.
"""
