"""The stage `model`: puts a new last layer on the pretrained network."""

import logging
from pathlib import Path

from finetune_trainer.contract import Model, ModelStatus
from finetune_trainer.dataset.preprocessing import PREPROCESSING
from finetune_trainer.model.known_rows import save_known_rows
from finetune_trainer.model.network import Network, save
from finetune_trainer.model.origin import Origin, obtain
from finetune_trainer.model.pretrained import Pretrained, load_pretrained
from finetune_trainer.model.rewrites.batch_norm import with_momentum
from finetune_trainer.model.shapes import check_shapes
from finetune_trainer.model.surgery import Surgery, replace_head
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, PACKED, Built, Packed

log = logging.getLogger(__name__)

MOMENTUM = 0.9
"""The highest momentum of a BatchNorm: its statistics must adapt within a few hundred steps."""


def cut(model: Model, origin: Origin, *, classes: int, bundled: Path) -> tuple[Pretrained, Surgery]:
    """Load the network and replace its last layer; raises if the files do not fit together."""
    pretrained = load_pretrained(model, origin, bundled=bundled)
    surgery = replace_head(pretrained.network, classes, after=model.replace_after)
    network = surgery.network
    size = pretrained.preprocessing.input_size
    check_shapes(network.symbol, network.args | network.aux, size=size)
    return pretrained, surgery


def build(run: Run) -> None:
    """Put a new last layer for the data set's classes on the pretrained network."""
    packed = files.read_json(run.paths.job / PACKED, Packed)
    origin = obtain(run)
    pretrained, surgery = cut(
        run.job.model, origin, classes=len(packed.classes), bundled=run.paths.models
    )
    network, preprocessing = surgery.network, pretrained.preprocessing
    status = ModelStatus(name=origin.name, sha256=pretrained.sha256, head=surgery.replaced)
    target = run.paths.job / "model"
    with files.whole_directory(target, check=run.check_owner) as staged:
        save(Network(with_momentum(network.symbol, MOMENTUM), network.args, network.aux), staged)
        files.write_json(staged / PREPROCESSING, preprocessing)
        if earlier := origin.earlier:
            old, new = earlier.classes, packed.classes
            known = save_known_rows(staged, pretrained.network, surgery, old=old, new=new)
            log.info("the model of %s knows %d of the %d classes", earlier.name, known, len(new))
    built = Built(
        directory=str(target),
        features=surgery.features,
        input_size=preprocessing.input_size,
        mean=preprocessing.mean,
        std=preprocessing.std,
        status=status,
    )
    run.hand_on(BUILT, built)
    run.reporter.model(status)
