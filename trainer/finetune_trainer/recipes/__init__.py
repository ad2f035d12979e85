"""Recipes: pure functions that say how to fit, and why. They compute nothing and import no MXNet.

The user's settings replace single numbers of the recipe that runs, not the recipe.
"""

import dataclasses
from typing import Literal

from finetune_trainer.contract import EarlyStopping, ExitCode, Optimizer, TrainerError, Training
from finetune_trainer.dataset.augmentation import Level
from finetune_trainer.recipes.schedule import Schedule

ADAMS = ("adam", "adamw", "lamb")
TAKEN_BY = {
    "momentum": ("sgd", "nag"),
    "beta1": ADAMS,
    "beta2": ADAMS,
    "epsilon": (*ADAMS, "rmsprop"),
}
"""Which optimizers have a parameter; all have the others."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All numbers of one fit."""

    name: str
    reason: str
    """Why this one runs, for people."""
    epochs: int
    batch_size: int
    """Images of a step on one device."""
    optimizer: str
    optimizer_params: dict[str, float]
    seed: int
    trains: Literal["head", "top", "all"]
    """The new layer, on cached features; the last blocks, on cached activations of those below;
    or the whole network, on images."""
    new_layer: Literal["xavier", "zero"] = "xavier"
    """What the new layer starts from."""
    start: "Recipe | None" = None
    """What is fitted before, for this to go on from; None: the pretrained network."""
    frozen_statistics: bool = False
    """Whether BatchNorm normalises by the pretrained statistics in training too, and keeps them."""
    trunk_rate: float = 1.0
    """What the learning rate of the pretrained layers is multiplied by."""
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    """How the learning rate changes."""
    augmentation: Level = "crop"
    """How much training images are changed."""
    smoothing: float = 0.0
    """Share of each target that is spread over all classes."""
    mixup: float = 0.0
    """alpha of the Beta distribution that two images are mixed by; 0: they are not."""
    cutmix: float = 0.0
    """alpha of the Beta distribution of the share that one image keeps beside a box of another;
    0: none is cut."""
    precision: Literal["float32", "float16"] = "float32"
    """What is convolved and multiplied in; parameters and statistics are float32."""
    balanced: bool = False
    """Whether all classes count alike."""
    balanced_sampling: bool = False
    """Whether an epoch has all classes equally often."""
    clipping: float = 0.0
    """The longest gradient that is not shortened to it; 0: none is."""
    accumulation: int = 1
    """Batches whose gradients are added up for each update."""
    averaging: Literal["none", "ema", "soup"] = "none"
    """Which mean over the training is the model: none, a moving one, that of the last epochs."""
    retries: bool = False
    """Whether a fit that diverges goes on once from its last checkpoint, more slowly."""
    views: int = 0
    """Pictures made of each training image for the cached features: the centre, then random
    crops, mirrored or not."""
    checkpoint_epochs: int = 1
    """Epochs from one checkpoint, and its lines in the log, to the next."""
    early_stopping: EarlyStopping | None = None
    """How `stop_after` is found."""
    stop_after: int | None = None
    """The epoch after which it stops, though the schedule is that of all of them."""

    @property
    def last_epoch(self) -> int:
        """How many epochs it takes."""
        return self.stop_after or self.epochs

    @property
    def trains_trunk(self) -> bool:
        """Whether the whole network is fitted."""
        return self.trains == "all"

    @property
    def needs_targets(self) -> bool:
        """Whether labels alone are not what it trains towards."""
        return bool(self.smoothing or self.mixup or self.cutmix or self.balanced)

    def described(self) -> dict[str, str]:
        """Return what it does by name, for people."""
        schedule = self.schedule
        numbers = {
            "batch of a device": self.batch_size,
            "optimizer": self.optimizer,
            **{name.replace("_", " "): value for name, value in self.optimizer_params.items()},
            "starts from": self.start.name if self.start else "",
            "rate of the pretrained layers": f"x {self.trunk_rate:g}"
            if self.trains != "head"
            else "",
            "BatchNorm": "pretrained statistics" if self.frozen_statistics else "",
            "schedule": schedule.name,
            "warm-up epochs": schedule.warmup_epochs or "",
            "augmentation": self.augmentation if self.trains_trunk else f"{self.views} views",
            "precision": self.precision if self.precision != "float32" else "",
            "label smoothing": self.smoothing or "",
            "mixup": self.mixup or "",
            "cutmix": self.cutmix or "",
            "class weights": "balanced" if self.balanced else "",
            "sampling": "balanced" if self.balanced_sampling else "",
            "gradient clipping": self.clipping or "",
            "batches of an update": self.accumulation if self.accumulation > 1 else "",
            "early stopping": f"of {self.epochs} epochs" if self.stop_after else "",
            "weight averaging": self.averaging if self.averaging != "none" else "",
            "seed": self.seed,
        }
        return {name: str(value) for name, value in numbers.items() if value != ""}


def choose(training: Training, *, devices: int, pods: int = 1) -> Recipe:
    """Return the recipe that `training` asks for, with the user's numbers. Raises InvalidSpec for
    settings that contradict it or each other.
    """
    from finetune_trainer.recipes import (
        checks,
        features,
        full,
        progressive,
        sagemaker,
        tutorial,
    )

    training = sagemaker.merged(training, devices=devices)
    match training.recipe:
        case "tutorial":
            recipe = tutorial.recipe(reason="asked for")
        case "features":
            recipe = features.recipe(reason="asked for")
        case "progressive":
            recipe = progressive.recipe(reason="asked for", devices=devices)
        case "full":
            recipe = full.recipe(reason="asked for", devices=devices)
        case "auto":
            recipe = features.recipe(reason=_why_features(devices))
    checks.check(training, recipe)
    recipe = _with_settings(recipe, training)
    return recipe if pods == 1 else _shared(recipe)


def _shared(recipe: Recipe) -> Recipe:
    """Return a recipe as the pods of a gang fit it: each would have to find the same bits of what
    it starts from. Raises InvalidSpec for one that is nothing without that.
    """
    if recipe.name == "progressive":
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.recipe progressive trains on one pod, but trainer.numNodes is more",
            "set training.recipe to full, or trainer.numNodes to 1",
        )
    if recipe.early_stopping:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.earlyStopping is set, which is not for trainer.numNodes > 1",
            "leave it out",
        )
    return dataclasses.replace(recipe, start=None)


def _why_features(devices: int) -> str:
    hardware = f"with {devices} GPUs" if devices else "on CPUs"
    return (
        f"auto: {hardware}, one pass of the pretrained trunk and a well-trained last layer "
        "give more accuracy for the time than epochs of the whole network"
    )


def _with_settings(recipe: Recipe, training: Training) -> Recipe:
    optimizer = training.optimizer
    return dataclasses.replace(
        recipe,
        epochs=training.epochs or recipe.epochs,
        batch_size=training.batch_size_per_device or recipe.batch_size,
        seed=training.seed,
        start=_started(recipe.start, training),
        optimizer=optimizer.name or recipe.optimizer,
        optimizer_params=_optimizer_params(optimizer, recipe),
        schedule=_schedule(training, recipe.schedule),
        augmentation=training.augmentation or recipe.augmentation,
        precision=training.precision,
        smoothing=_decimal(training.label_smoothing, recipe.smoothing),
        mixup=_decimal(training.mixup, recipe.mixup),
        cutmix=_decimal(training.cutmix, recipe.cutmix),
        balanced=training.class_weights == "balanced" or recipe.balanced,
        balanced_sampling=training.sampling == "balanced",
        clipping=_decimal(training.gradient_clipping, recipe.clipping),
        accumulation=training.gradient_accumulation,
        averaging=training.weight_averaging,
        retries=training.on_divergence == "Retry",
        early_stopping=training.early_stopping,
    )


def _started(recipe: Recipe | None, training: Training) -> Recipe | None:
    if recipe is None:
        return None
    return dataclasses.replace(
        recipe,
        seed=training.seed,
        precision="float32" if recipe.trains == "head" else training.precision,
        balanced=training.class_weights == "balanced",
        retries=training.on_divergence == "Retry",
        start=_started(recipe.start, training),
    )


def _decimal(text: str | None, default: float) -> float:
    return default if text is None else float(text)


def _schedule(training: Training, recipes: Schedule) -> Schedule:
    given = training.schedule
    name = given.name or recipes.name
    warmup = _decimal(given.warmup_epochs, 0.0 if name == "onecycle" else recipes.warmup_epochs)
    return Schedule(
        name,
        warmup_epochs=warmup,
        step_epochs=given.step_epochs or recipes.step_epochs,
        factor=_decimal(given.factor, recipes.factor),
    )


def _optimizer_params(optimizer: Optimizer, recipe: Recipe) -> dict[str, float]:
    """Return MXNet's parameters: the recipe's, unless the user names another optimizer, with the
    user's on top.
    """
    name = optimizer.name or recipe.optimizer
    params = dict(recipe.optimizer_params) if name == recipe.optimizer else {}
    given = {
        "learning_rate": optimizer.learning_rate,
        "wd": optimizer.weight_decay,
        **{parameter: getattr(optimizer, parameter) for parameter in TAKEN_BY},
    }
    return params | {name: float(value) for name, value in given.items() if value is not None}
