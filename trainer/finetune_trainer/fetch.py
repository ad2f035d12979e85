"""The stage `fetch`: what can be known to be wrong is said before a photo is read, not hours later.
Imports no MXNet.
"""

from finetune_trainer import recipes
from finetune_trainer.dataset.split import check_split
from finetune_trainer.export.stage import check_output
from finetune_trainer.model import origin
from finetune_trainer.run.context import Run
from finetune_trainer.storage import sources


def check_and_fetch(run: Run) -> None:
    """Check the spec and the output, then make the photos available."""
    origin.check(run.job)
    recipes.choose(run.job.training, devices=run.devices, pods=run.gang.nodes)
    dataset = run.job.dataset
    check_split(dataset.split, has_validation_source=dataset.validation_source is not None)
    check_output(run)
    origin.fetch(run)
    sources.fetch(run)
