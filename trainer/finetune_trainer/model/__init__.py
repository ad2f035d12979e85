"""The network: its files are read, it gets a new last layer, and its outputs are computed.

stage          the stage `model`: build, from the job's `model` to a network for its classes
origin         the files of the pretrained network, fetched if need be
input_size     the size of the images that the network takes
catalogue      the networks of `model.name` (catalogue.yaml), and their weights files
earlier        the model of an earlier FineTuneJob, for `training.resumeFrom`
exported       the files that such a model consists of
formats/       the files of PyTorch, safetensors and ONNX
architectures/ the networks of the catalogue as symbols
pretrained     files and job to a network with its preprocessing
convert        weights of the catalogue to MXNet files, when the image is built
surgery        the last layer replaced: the trunk is the network below the new one
known_rows     rows of the new layer that an earlier model knows
shapes         the shapes that parameters must have
values         the values that they must have
try_out        a network is loaded before a photo is read, in the process tried_out
network        a symbol with its parameters, and its three files
graph          a symbol's nodes: read, edited and rebuilt
rewrites/      symbols rewritten for training
last_blocks    the layers that are trained alone on cached activations
reader         packed records as batches; augmentation has its settings
inference      outputs of a network, batch by batch
memory         smaller batches for a GPU that is out of memory

To add a network to the catalogue: an entry in catalogue.yaml, and its architecture if that is new.
To add a format: see formats/.
"""
