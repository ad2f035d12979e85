"""From the top down: the new layer, then the last blocks with it, then all layers."""

import dataclasses

from finetune_trainer.recipes import Recipe, features, full
from finetune_trainer.recipes.schedule import Schedule


def recipe(*, reason: str, devices: int) -> Recipe:
    """Return the numbers of the last phase, which starts from the others.

    Gradual unfreezing with lower rates below (Howard and Ruder 2018). The last blocks train on
    cached activations, ten times faster than the whole network; what is left for all layers takes
    a third of the epochs of `full`.
    """
    whole = full.recipe(reason=reason, devices=devices)
    return dataclasses.replace(whole, name="progressive", epochs=5, start=top())


def top() -> Recipe:
    """Return the phase that fits the last blocks and the new layer."""
    return Recipe(
        name="last blocks",
        reason="before all layers are fitted",
        epochs=6,
        batch_size=32,
        optimizer="nag",
        optimizer_params={"learning_rate": 0.02, "momentum": 0.9, "wd": 0.0001},
        seed=0,
        trains="top",
        start=features.recipe(reason="before the last blocks are fitted"),
        frozen_statistics=True,
        trunk_rate=0.1,
        schedule=Schedule("cosine", warmup_epochs=1.0),
        smoothing=0.1,
        views=4,
    )
