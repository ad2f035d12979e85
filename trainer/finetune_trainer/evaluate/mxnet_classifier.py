"""A model's MXNet files as a function from pixels to probabilities."""

from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import numpy as np

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.preprocessing import Preprocessing
from finetune_trainer.evaluate.metrics import Floats
from finetune_trainer.model.network import reason_of


def load(
    directory: Path, preprocessing: Preprocessing, *, batch_size: int
) -> Callable[[Floats], Floats]:
    """Load model-symbol.json and model-0000.params. The function pads fewer images to a batch."""
    size = preprocessing.input_size
    try:
        module = mx.mod.Module.load(str(directory / "model"), 0, label_names=["softmax_label"])
        shapes = [("data", (batch_size, 3, size, size))]
        module.bind(shapes, [("softmax_label", (batch_size,))], for_training=False)
    except mx.MXNetError as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"the model in {directory} cannot be read: {reason_of(error)}",
            "Copy the directory of the model again; manifest.json lists the files' digests.",
        ) from error

    def probabilities(data: Floats) -> Floats:
        padded = np.zeros((batch_size, *data.shape[1:]), np.float32)
        padded[: len(data)] = data
        labels = [mx.nd.zeros(batch_size)]
        module.forward(mx.io.DataBatch([mx.nd.array(padded)], labels), is_train=False)
        result: Floats = module.get_outputs()[0].asnumpy()[: len(data)]
        return result

    return probabilities
