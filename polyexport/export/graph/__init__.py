"""The ONNX graph: traced, simplified and rewritten."""
