"""Uses a fitted model: names the class of pictures, and measures it on labelled ones.

With an ONNX file nothing here imports MXNet.
"""
