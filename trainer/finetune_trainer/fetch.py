"""The stage `fetch`: checks the spec and the output, then fetches the photos and the model.

A mistake that can be found is reported here, before a photo is read, not hours later. No MXNet.
"""

from finetune_trainer import recipes
from finetune_trainer.dataset.split import check_split
from finetune_trainer.model import input_size, origin
from finetune_trainer.model.try_out import try_out
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import FETCHED, Fetched
from finetune_trainer.storage import sources
from finetune_trainer.storage.outputs import check_output


def check_and_fetch(run: Run) -> None:
    """Check the spec and the output, then fetch the model and the photos."""
    origin.check(run.job)
    input_size.check_spec(run.job)
    recipes.choose(run.job.training, gpus=run.gpus, pods=run.gang.nodes)
    dataset = run.job.dataset
    check_split(dataset.split, has_validation_source=dataset.validation_source is not None)
    check_output(run)
    network = origin.obtain(run)
    try_out(run.job.model, network)
    size = input_size.find_size(run.job.model, network)
    input_size.check_size(run.job, size)
    fetch(run, size=size)


def fetch(run: Run, *, size: int | None = None) -> None:
    """Fetch the photos, and hand on the folders that hold them and the network's input size."""
    dataset = run.job.dataset
    train = sources.obtain(dataset.source, field="dataset.source", secret="DATASET_", run=run)
    validation = None
    if dataset.validation_source:
        validation = sources.obtain(
            dataset.validation_source,
            field="dataset.validationSource",
            secret="VALIDATION_",
            run=run,
        )
    run.hand_on(
        FETCHED,
        Fetched(
            train=str(train.path),
            validation=str(validation.path) if validation else None,
            train_version=train.version,
            validation_version=validation.version if validation else None,
            warnings=train.warnings + (validation.warnings if validation else ()),
            input_size=size,
        ),
    )
