"""Our compiler against OpenVINO and ONNX Runtime on the twelve networks: `python -m benchmarks.latency`, `make bench`.

Does: lets the engines take turns in worker processes as `strop compare` does, checks that they agree, keeps a JSON
document a network and thread count with ratios and their intervals, prints the table, draws the picture.
Does not: build networks, or measure loading (`benchmarks.loading`). Start reading at: `measuring.py`.
"""
