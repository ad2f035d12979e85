"""All layers, starting from the head of `features`; the pretrained layers at a lower rate."""

from finetune_trainer.recipes import features
from finetune_trainer.recipes.recipe import ASKED_FOR, Recipe
from finetune_trainer.recipes.schedule import RateSchedule


def recipe(gpus: int = 0, *, reason: str = ASKED_FOR) -> Recipe:
    """Return the numbers of a fine-tuning of all layers.

    The learning rate is that of a batch of 32, times the devices (Goyal et al. 2017, with their
    warm-up); the pretrained layers have a tenth of it, as in GluonCV and fastai. BatchNorm keeps
    its statistics: those of a few small batches cost 10 points on the demo photos.
    """
    return Recipe(
        name="full",
        reason=reason,
        epochs=15,
        batch_size=32,
        optimizer="nag",
        optimizer_params={
            "learning_rate": 0.02 * max(1, gpus),
            "momentum": 0.9,
            "wd": 0.0001,
        },
        seed=0,
        trains="all",
        start=features.recipe(reason="the start of full"),
        frozen_statistics=True,
        trunk_rate=0.1,
        schedule=RateSchedule("cosine", warmup_epochs=1.0),
        smoothing=0.1,
    )
