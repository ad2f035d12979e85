"""A symbol rewritten for training: the same layers and parameters, other settings or operators.

batch_norm   a lower momentum for fine-tuning; frozen statistics
relu6        clip as ReLU and clip: faster to train on CPUs
half         mixed precision: float16 inside, float32 outside
single       a network of float16 or float64 numbers as one of float32

A new rewrite is one function here, made with `model.graph.edit`.
"""
