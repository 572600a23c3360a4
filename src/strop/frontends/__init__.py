"""The doors for models that are not ONNX: one file a format, each turns an object into ONNX.

Does: PyTorch modules and ExportedPrograms (torch.py).
Does not: read ONNX (model/load.py does), or open files of other formats, which can run code when they are loaded.
Start reading at: `torch.py`.
"""
