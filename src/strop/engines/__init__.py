"""How models are run: one contract, and an engine behind it for each way to run a model.

Does: compiles a model with ONNX Runtime, OpenVINO or the reference evaluator; checks what goes in and hands out what
    the caller owns; reads every setting back; runs a compiled model inside a worker process.
Does not: measure anything, choose by measuring, or change a model. Imports no engine before it is asked to compile.
Start reading at: `contract.Engine`, then `base.CompiledBase` and `onnxruntime.OnnxRuntimeEngine`.
"""
