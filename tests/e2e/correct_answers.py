"""Counts a saved model's right answers image by image, with nothing of the trainer's own code."""

import json
from pathlib import Path

import mxnet as mx
import numpy as np


def count_correct(model: Path, records: Path) -> tuple[int, int]:
    """Return (correct, total) of an exported model over a val.rec."""
    preprocessing = json.loads((model / "preprocessing.json").read_text())
    size = preprocessing["inputSize"]
    mean, std = (np.array(preprocessing[key], dtype=np.float32) for key in ("mean", "std"))
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(model / "model"), 0)
    module = mx.mod.Module(symbol)
    module.bind([("data", (1, 3, size, size))], [("softmax_label", (1,))], for_training=False)
    module.set_params(arguments, auxiliary)
    reader = mx.recordio.MXIndexedRecordIO(str(records.with_suffix(".idx")), str(records), "r")
    correct = 0
    for key in reader.keys:
        header, data = mx.recordio.unpack(reader.read_idx(key))
        picture = mx.image.imdecode(data).asnumpy()
        top, left = ((length - size) // 2 for length in picture.shape[:2])
        crop = picture[top : top + size, left : left + size].astype(np.float32)
        batch = ((crop - mean) / std).transpose(2, 0, 1)[None]
        module.forward(mx.io.DataBatch([mx.nd.array(batch)]), is_train=False)
        correct += int(module.get_outputs()[0].asnumpy().argmax()) == int(header.label)
    return correct, len(reader.keys)
