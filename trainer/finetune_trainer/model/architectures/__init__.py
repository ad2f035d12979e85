"""The networks of the catalogue as MXNet symbols, for weights that come without a graph.

assemble       ARCHITECTURES, and a state dict put into one of them
selection      the tensors of one network in a checkpoint, whatever it is wrapped in
layers         convolution with BatchNorm, activations, the classifier's end
efficientnet   EfficientNet-Lite
mobilenet      MobileNetV2
resnet         ResNet

To add an architecture: one file with `build`, and one line in ARCHITECTURES.
"""
