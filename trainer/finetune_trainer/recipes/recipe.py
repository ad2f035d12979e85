"""Recipe: all numbers of one fit."""

import dataclasses
from typing import Literal

from finetune_trainer.contract import Augmentation, EarlyStopping
from finetune_trainer.recipes.schedule import RateSchedule

ASKED_FOR = "asked for"
"""The reason for a recipe that the job names."""
ADAMS = ("adam", "adamw", "lamb")
OPTIMIZERS_WITH = {
    "momentum": ("sgd", "nag"),
    "beta1": ADAMS,
    "beta2": ADAMS,
    "epsilon": (*ADAMS, "rmsprop"),
}
"""The optimizers that have a parameter; parameters that are not here are for all of them."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All numbers of one fit."""

    name: str
    reason: str
    """The human-readable reason for this recipe."""
    epochs: int
    batch_size: int
    """Images of one step on one device."""
    optimizer: str
    optimizer_params: dict[str, float]
    seed: int
    trains: Literal["head", "last blocks", "all"]
    """The layers that are trained: the new layer (head), on cached features; the last blocks and
    the new layer, on cached activations of the layers below; or all layers, on images."""
    new_layer: Literal["xavier", "zero"] = "xavier"
    """Initialization of the new layer."""
    start: "Recipe | None" = None
    """The recipe that is fitted before, and whose weights this one starts from; None: it starts
    from the pretrained network."""
    frozen_statistics: bool = False
    """True if BatchNorm keeps its pretrained statistics and uses them in training too."""
    trunk_rate: float = 1.0
    """Factor of the learning rate for the pretrained layers."""
    schedule: RateSchedule = dataclasses.field(default_factory=RateSchedule)
    """The change of the learning rate."""
    augmentation: Augmentation = "crop"
    """Random changes of training images."""
    smoothing: float = 0.0
    """Fraction of each target that is spread over all classes."""
    mixup: float = 0.0
    """alpha of the Beta distribution of the weights by which two images are mixed; 0: no mixup."""
    cutmix: float = 0.0
    """alpha of the Beta distribution of the fraction of an image that is not covered by a box of
    another one; 0: no cutmix."""
    precision: Literal["float32", "float16"] = "float32"
    """Type of convolutions and matrix products; parameters and statistics are float32."""
    balanced: bool = False
    """True if all classes have the same weight in the loss."""
    balanced_sampling: bool = False
    """True if an epoch has equally many images of each class."""
    clipping: float = 0.0
    """Largest norm of the gradient, to which a longer one is shortened; 0: no clipping."""
    accumulation: int = 1
    """Batches whose gradients are added up for each update."""
    averaging: Literal["none", "ema", "soup"] = "none"
    """The weights of the model: none: the last ones; ema: a moving average over the steps; soup:
    the mean of the last epochs."""
    retries: bool = False
    """True if a fit that diverges resumes once from its last checkpoint, at a lower rate."""
    views: int = 0
    """Views of each training image for the cached features: the centre, then random crops,
    mirrored or not."""
    checkpoint_epochs: int = 1
    """Epochs between two checkpoints, and between two lines in the log."""
    early_stopping: EarlyStopping | None = None
    """The rule by which `stop_after` is found."""
    stop_after: int | None = None
    """The epoch after which the fit stops; the schedule is still that of all `epochs`."""

    @property
    def last_epoch(self) -> int:
        """The number of epochs of the fit."""
        return self.stop_after or self.epochs

    @property
    def trains_trunk(self) -> bool:
        """True if all layers are trained."""
        return self.trains == "all"

    @property
    def needs_targets(self) -> bool:
        """True if the loss needs a row of targets for each image, not its label alone."""
        return bool(self.smoothing or self.mixup or self.cutmix or self.balanced)

    def described(self) -> dict[str, str]:
        """Return the settings that matter for this recipe, as human-readable names and values."""
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
