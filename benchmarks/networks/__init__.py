"""The benchmark's twelve networks, built in code: seeded weights, the nodes that exporters write, opset 17.

Does: builds each as ONNX with `onnx` and numpy alone, makes its inputs, keeps built files in a folder.
Does not: run or time anything. Start reading at: `registry.py`, then `builder.py`.
"""
