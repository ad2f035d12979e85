"""ONNX files, in both directions.

file        a file to a graph, without MXNet: OPERATORS lists what is supported
translate   a graph to a network, compared with onnxruntime
call        one operator with its inputs
operators   CONVERTERS: the MXNet equivalent of each operator
layers      the operators with weights, pooling and normalisation
shaping     the operators that only move numbers
folding     the nodes that do not depend on the images, computed
session     a file run with onnxruntime
export      a fitted network to a file

To add an operator: its name in OPERATORS, its equivalent in CONVERTERS, and a piece in the test.
"""
