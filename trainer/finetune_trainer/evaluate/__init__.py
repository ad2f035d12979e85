"""The stage `evaluate`: measures the saved model on all validation images.

stage              load the model, classify every image, hand on evaluation.json
scoring            running counts of accuracy and loss, for the epochs of a fit, too
metrics            all figures, from the answer to each image; pure
onnx_twin          the ONNX file, compared with MXNet on every image
classifier         a model's directory as a classifier, for `predict` and `evaluate` of the CLI
mxnet_classifier   the same by the MXNet files

To add a figure: one function of an Evaluation and one line in metrics.METRICS.
"""
