"""First the new layer, then the last blocks with it, then all layers."""

import dataclasses

from finetune_trainer.recipes import features, full
from finetune_trainer.recipes.recipe import ASKED_FOR, Recipe


def recipe(gpus: int = 0, *, reason: str = ASKED_FOR) -> Recipe:
    """Return the numbers of the last phase, which starts from the others.

    This is gradual unfreezing with lower rates for lower layers (Howard and Ruder 2018). The last
    blocks train on cached activations, ten times faster than the whole network; after that all
    layers need a third of the epochs of `full`.
    """
    whole = full.recipe(gpus, reason=reason)
    return dataclasses.replace(whole, name="progressive", epochs=5, start=last_blocks())


def last_blocks() -> Recipe:
    """Return the phase that fits the last blocks and the new layer, by the numbers of `full`."""
    return dataclasses.replace(
        full.recipe(reason="before all layers are fitted"),
        name="last blocks",
        epochs=6,
        trains="last blocks",
        start=features.recipe(reason="before the last blocks are fitted"),
        views=4,
    )
