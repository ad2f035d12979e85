"""MXNet's tutorial "Fine-tune with Pretrained Models", number by number.

8 epochs of Module.fit with its default SGD: learning rate 0.01, no momentum, no weight decay; 16
images a step on each device, kvstore `device`; random crop and mirror; the new layer initialised
by Xavier(rnd_type="gaussian", factor_type="in", magnitude=2); the last epoch is the model.
"""

from finetune_trainer.recipes.recipe import ASKED_FOR, Recipe


def recipe(gpus: int = 0, *, reason: str = ASKED_FOR) -> Recipe:
    """Return the tutorial's numbers, which are the same on all hardware."""
    return Recipe(
        name="tutorial",
        reason=reason,
        epochs=8,
        batch_size=16,
        optimizer="sgd",
        optimizer_params={"learning_rate": 0.01},
        seed=0,
        trains="all",
    )
