"""Files of other frameworks, read and written without those frameworks.

table         FORMATS: how each format is recognised and read
foreign       files that are none of these, with the way to one
pytorch       a state dict of torch.save; no code of the file runs
safetensors   a state dict in safetensors
onnx          a classifier as a graph, in both directions

To add a format of weights alone: one file here, one line in FORMATS, and its name in
`contract.model.ModelSource.format`; `make render`, and a row in docs/models.md. A format with a
graph also needs its translation to an MXNet network, in `model.pretrained`.
"""
