"""The numbers of one fit."""

import dataclasses
from typing import Literal

from finetune_trainer.contract import Augmentation, EarlyStopping
from finetune_trainer.recipes.schedule import RateSchedule

ASKED_FOR = "asked for"
"""The reason of a recipe that the job names."""
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
    trains: Literal["head", "last blocks", "all"]
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
    schedule: RateSchedule = dataclasses.field(default_factory=RateSchedule)
    """How the learning rate changes."""
    augmentation: Augmentation = "crop"
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
