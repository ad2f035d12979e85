"""`spec.training`: how the network is fitted."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from finetune_trainer.contract.sagemaker import ALLOWED, sagemaker_rules
from finetune_trainer.contract.values import Decimal, Fraction, Rules, Source, Struct, rule

RecipeName = Literal["auto", "tutorial", "features", "progressive", "full"]
Augmentation = Literal["none", "crop", "color", "strong"]
IMAGE_RECIPES: tuple[RecipeName, ...] = ("tutorial", "progressive", "full")
"""Recipes that train on images, not on features that are computed once."""
IMAGE_FIELDS = {
    "augmentation": "!has(self.augmentation)",
    "cutmix": "!has(self.cutmix) || !self.cutmix.matches('[1-9]')",
    "weightAveraging": "!has(self.weightAveraging) || self.weightAveraging == 'none'",
    "earlyStopping": "!has(self.earlyStopping)",
    "precision": "!has(self.precision) || self.precision == 'float32'",
}
"""Fields of IMAGE_RECIPES only, each with the CEL expression that is true if it is not set."""

_Beta = Annotated[Fraction, rule("!self.matches('^1')", 'must be below 1, such as "0.9"')]
_Momentum = Annotated[Decimal, rule("!self.matches('^0*[1-9]')", 'must be below 1, such as "0.9"')]
_LearningRate = Annotated[Decimal, rule("self.matches('[1-9]')", 'must be above 0, such as "0.01"')]


class Optimizer(Struct, forbid_unknown_fields=True):
    """The optimizer; what is not set is the recipe's."""

    name: Literal["sgd", "nag", "adam", "adamw", "rmsprop", "lamb"] | None = None
    """MXNet's name of the optimizer."""
    learning_rate: _LearningRate | None = None
    """Learning rate."""
    momentum: _Momentum | None = None
    """Momentum of sgd and nag."""
    weight_decay: Decimal | None = None
    """Weight decay (MXNet's wd)."""
    beta1: _Beta | None = None
    """Decay of the mean of the gradients, of adam, adamw and lamb."""
    beta2: _Beta | None = None
    """Decay of the mean of their squares, of adam, adamw and lamb."""
    epsilon: Decimal | None = None
    """What keeps adam, adamw, rmsprop and lamb from dividing by zero."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.momentum) || !has(self.name) || self.name in ['sgd', 'nag']",
            "momentum is of sgd and nag: remove it, or choose one of them",
        ),
        (
            "!(has(self.beta1) || has(self.beta2)) || !has(self.name) ||"
            " self.name in ['adam', 'adamw', 'lamb']",
            "beta1 and beta2 are of adam, adamw and lamb: remove them, or choose one of these",
        ),
        (
            "!has(self.epsilon) || !has(self.name) || !(self.name in ['sgd', 'nag'])",
            "epsilon is not of sgd and nag: remove it",
        ),
    )


class Schedule(Struct, forbid_unknown_fields=True):
    """How the learning rate changes during the fit; what is not set is the recipe's."""

    name: Literal["constant", "step", "cosine", "onecycle"] | None = None
    """constant; step: multiplied by `factor` after each of `stepEpochs`; cosine: down to zero;
    onecycle: up for three tenths of the fit, then down to zero."""
    warmup_epochs: Decimal | None = None
    """Epochs, or a part of one, in which the rate rises from zero before that."""
    step_epochs: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=1000)], ...], Meta(max_length=20)
    ] = ()
    """Epochs done at which `step` lowers the rate."""
    factor: Fraction | None = None
    """What `step` multiplies the rate by; 0.1 if it is not set."""

    cel: ClassVar[Rules] = (
        (
            "(has(self.name) && self.name == 'step') == has(self.stepEpochs)",
            "stepEpochs and the name step belong together: set both, or neither",
        ),
        (
            "!has(self.factor) || has(self.stepEpochs)",
            "factor is of the name step: remove it, or set stepEpochs",
        ),
        (
            "!has(self.warmupEpochs) || !has(self.name) || self.name != 'onecycle' ||"
            " !self.warmupEpochs.matches('[1-9]')",
            "onecycle rises by itself: remove warmupEpochs, or set name to cosine",
        ),
    )


class EarlyStopping(Struct, forbid_unknown_fields=True):
    """When to stop: a fifth of the training images is kept aside until that is found out."""

    patience: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Epochs in a row without a better accuracy on them after which it stops."""
    min_epochs: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Epochs before which it does not stop."""
    tolerance: Fraction = "0"
    """Share of the best accuracy by which another one must exceed it to be better, such as
    "0.01"."""


class Training(Struct, forbid_unknown_fields=True):
    """How the network is fitted; what is not set is the recipe's."""

    recipe: RecipeName = "auto"
    """auto picks for the hardware and the data; tutorial repeats MXNet's fine-tuning tutorial
    number by number; features computes the trunk's features once and trains the head on them;
    progressive goes on with the last blocks, and then with all layers; full trains all layers
    from the head on, the pretrained ones more slowly."""
    time_budget_seconds: Annotated[int, Meta(ge=1, le=604800)] | None = None
    """What the recipe auto may take to choose and to fit; reading the data and measuring the result
    come on top. 30 on CPUs and 1800 with GPUs if it is not set."""
    epochs: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """Passes over the training images."""
    batch_size_per_device: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Images of one step on one GPU; without GPUs the machine is one device."""
    seed: Annotated[int, Meta(ge=0, le=2147483647)] = 0
    """Seed of initialisation, order and augmentation."""
    optimizer: Optimizer = msgspec.field(default_factory=Optimizer)
    """The optimizer."""
    schedule: Schedule = msgspec.field(default_factory=Schedule)
    """How the learning rate changes."""
    augmentation: Augmentation | None = None
    """How much training images are changed each time: none; crop: a random place, mirrored or not;
    color: and other light; strong: and another size, shape and angle. Of recipes that train on
    images."""
    label_smoothing: Fraction | None = None
    """Share of each target that is spread over all classes, such as "0.1"."""
    mixup: Fraction | None = None
    """alpha of the Beta distribution that two images are mixed by, such as "0.2"."""
    cutmix: Fraction | None = None
    """alpha of the Beta distribution of the share that an image keeps beside a box of another one,
    such as "1.0"; with mixup, each batch is one of the two. Of recipes that train on images."""
    precision: Literal["float32", "float16"] = "float32"
    """What is convolved and multiplied in while layers train: float16 takes less memory and can be
    faster on GPUs with tensor cores (compute capability 7.0 and later); parameters and BatchNorm's
    statistics stay float32. Of recipes that train on images, and with GPUs; not yet run on one."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: every class counts alike, however many images it has."""
    sampling: Literal["natural", "balanced"] = "natural"
    """balanced: every class is drawn equally often, in an epoch of the same length. Of the recipe
    features."""
    gradient_clipping: Decimal | None = None
    """The norm of the whole gradient to which a longer one is shortened, such as "1.0"; 0: none
    is."""
    gradient_accumulation: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Batches whose mean gradient makes one update: as if the batch were so many times larger, but
    for BatchNorm, in the memory of one."""
    weight_averaging: Literal["none", "ema", "soup"] = "none"
    """The model is: none: the last step's; ema: a moving average over the steps; soup: the mean
    over the ends of the last quarter of the epochs. Of recipes that train on images."""
    early_stopping: EarlyStopping | None = None
    """Finds out after how many epochs a fifth of the training images, kept aside, gets no better,
    and then fits to all of them for so long: at most twice the time. Of recipes that train on
    images, and not with trainer.numNodes > 1."""
    on_divergence: Literal["Fail", "Retry"] = "Fail"
    """Retry: a fit that gives no numbers any more goes on once from its last good checkpoint at a
    tenth of the learning rate before the job fails with Diverged. Not with trainer.numNodes > 1."""
    hyperparameters: Annotated[
        dict[str, Annotated[str, Meta(max_length=64)]],
        Meta(max_length=len(ALLOWED), extra={"cel": sagemaker_rules()}),
    ] = msgspec.field(default_factory=dict)
    """Hyperparameters of SageMaker's Image Classification (MXNet) by their names there, each in
    quotes, such as learning_rate: "0.01". Nothing may be set under both names."""
    resume_from: Source | None = None
    """Model of an earlier FineTuneJob to go on from, instead of a pretrained network: the folder
    that its status.output.uri names, or the one above it for its newest. Classes may be added and
    left out: those that it knows keep what it has learned of them."""
    min_accuracy: Fraction | None = None
    """The job fails with AccuracyBelowMinimum (and keeps the accuracy) below this, 0 to 1."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.timeBudgetSeconds) || self.recipe == 'auto'",
            "timeBudgetSeconds is of the recipe auto: remove it, or set recipe to auto",
        ),
        *(
            (
                f"{unset} || self.recipe in {[*IMAGE_RECIPES]}",
                f"{name} is of recipes that train on images: remove it, or set recipe to full or"
                " tutorial",
            )
            for name, unset in IMAGE_FIELDS.items()
        ),
        (
            "!has(self.hyperparameters) ||"
            f" self.recipe in {[*IMAGE_RECIPES]} ||"
            " !('augmentation_type' in self.hyperparameters ||"
            " 'early_stopping' in self.hyperparameters &&"
            " self.hyperparameters['early_stopping'].matches('^[Tt]') ||"
            " 'precision_dtype' in self.hyperparameters &&"
            " self.hyperparameters['precision_dtype'] == 'float16')",
            "hyperparameters augmentation_type, early_stopping and precision_dtype float16 are of"
            " recipes that train on images: remove them, or set recipe to full or tutorial",
        ),
        (
            "!has(self.hyperparameters) || !('lr_scheduler_step' in self.hyperparameters) ||"
            " !has(self.schedule) || !has(self.schedule.name)",
            "schedule.name and hyperparameters.lr_scheduler_step both say how the rate changes:"
            " remove one of them",
        ),
        (
            "!has(self.hyperparameters) || !('early_stopping' in self.hyperparameters) ||"
            " !has(self.earlyStopping)",
            "earlyStopping and hyperparameters.early_stopping both say when to stop: remove one of"
            " them",
        ),
        (
            "!has(self.sampling) || self.sampling == 'natural' || self.recipe == 'features'",
            "sampling balanced is of the recipe features: set classWeights to balanced instead, or"
            " recipe to features",
        ),
        (
            "!has(self.sampling) || self.sampling == 'natural' || self.classWeights == 'none'",
            "sampling and classWeights both balance the classes: remove one of them",
        ),
    )
