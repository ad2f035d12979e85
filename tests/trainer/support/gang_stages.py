"""The stages of a small job that is fitted for real, for pods of a gang: `python -m` supervises."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from finetune_trainer.contract import Result
from finetune_trainer.model import network
from finetune_trainer.model.known_rows import KNOWN_ROWS
from finetune_trainer.model.network import Network, save_arrays
from finetune_trainer.pipeline import Stage
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, FITTED, PACKED, RESULT, Built, Fitted, Packed
from finetune_trainer.supervisor.pod import supervise
from PIL import Image

from tests.trainer.support.networks import SIZE, make_run, random_params

TRAIN = [0, 1, 2, 3] * 8
STAGES = (
    Stage("model", "tests.trainer.support.gang_stages:lay_out", 1),
    Stage("fit", "finetune_trainer.fit.stage:fit", 1),
    Stage("report", "tests.trainer.support.gang_stages:conclude", 1),
)


def lay_out(run: Run) -> None:
    """Write the files that the stages before the fit write."""
    root = run.paths.workspace / "laid-out"
    laid_out, _ = make_run(root, train=TRAIN, validation=[0, 1, 2, 3])
    packed = files.read_json(laid_out.paths.job / PACKED, Packed)
    built = files.read_json(laid_out.paths.job / BUILT, Built)
    if os.environ.get("PLAIN"):
        network.save(_plain_network(), Path(built.directory))
        _write_plain_images(Path(packed.directory, "train.rec"))
    if os.environ.get("KNOWN"):
        _write_known_rows(Path(built.directory, KNOWN_ROWS))
    run.hand_on(PACKED, packed)
    run.hand_on(BUILT, built)


def conclude(run: Run) -> None:
    """Write a result."""
    fitted = files.read_json(run.paths.job / FITTED, Fitted)
    files.write_json(run.paths.job / RESULT, Result(accuracy="0.5000", recipe=fitted.recipe))


def _plain_network() -> Network:
    """Return a network whose answer for an image does not depend on the rest of its batch."""
    x: Any = mx.sym.var("data")
    x = mx.sym.Pooling(x, name="pool", global_pool=True, pool_type="avg", kernel=(1, 1))
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), name="hidden", num_hidden=8)
    x = mx.sym.Activation(x, name="features", act_type="relu")
    x = mx.sym.FullyConnected(x, name="fc1", num_hidden=4)
    symbol = mx.sym.SoftmaxOutput(x, name="softmax")
    args, aux = random_params(symbol, seed=3)
    return Network(symbol, {n: v for n, v in args.items() if not n.startswith("fc1")}, aux)


def _write_known_rows(path: Path) -> None:
    """Write the new layer's rows as an earlier model leaves them that knows half of the classes."""
    rows = np.random.default_rng(5).normal(size=(4, 8)).astype(np.float32)
    rows[2:] = np.nan
    save_arrays(path, {"weight": mx.nd.array(rows), "bias": mx.nd.array(rows[:, 0])})


def _write_plain_images(path: Path) -> None:
    """Write images of one colour each: every crop of one is the same."""
    random = np.random.default_rng(4)
    records = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for index, label in enumerate(TRAIN):
        encoded = io.BytesIO()
        colour = tuple(map(int, random.integers(0, 256, 3)))
        Image.new("RGB", (SIZE, SIZE), colour).save(encoded, "JPEG", quality=95)
        header = mx.recordio.IRHeader(0, float(label), index, 0)
        records.write_idx(index, mx.recordio.pack(header, encoded.getvalue()))
    records.close()


if __name__ == "__main__":
    sys.exit(supervise(os.environ, stages=STAGES))
