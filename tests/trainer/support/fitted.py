"""A job after the stage `fit`, without training: the weights are drawn by seed."""

from pathlib import Path

import msgspec
from finetune_trainer.model import network
from finetune_trainer.model.network import Network, Preprocessing
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, FITTED, PACKED, Built, Fitted, Packed

from tests.trainer.support.networks import random_params


def leave_fitted(run: Run, *, seed: int = 1) -> None:
    """Write the files of the stage `fit`, from those of the stage `model`."""
    packed = files.read_json(run.paths.job / PACKED, Packed)
    built = files.read_json(run.paths.job / BUILT, Built)
    best = run.paths.job / "best"
    best.mkdir()
    symbol = network.load(Path(built.directory)).symbol
    network.save(Network(symbol, *random_params(symbol, seed=seed)), best)
    preprocessing = files.read_json(Path(built.directory, network.PREPROCESSING), Preprocessing)
    files.write_json(
        best / network.PREPROCESSING,
        msgspec.structs.replace(
            preprocessing,
            framing=packed.framing,
            resize_short=packed.resize_short,
            jpeg_quality=run.job.dataset.image.jpeg_quality,
        ),
    )
    (best / network.LABELS).write_text("".join(f"{name}\n" for name in packed.classes))
    fitted = Fitted(
        directory=str(best),
        recipe="tutorial",
        epochs=3,
        reason="it is cheap",
        settings={"optimizer": "adam"},
    )
    files.write_json(run.paths.job / FITTED, fitted)
