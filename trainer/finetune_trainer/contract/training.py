"""`spec.training`: the recipe, and the settings that replace its numbers."""

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
    """The optimizer. Fields that are not set have the recipe's values."""

    name: Literal["sgd", "nag", "adam", "adamw", "rmsprop", "lamb"] | None = None
    """MXNet's name of the optimizer."""
    learning_rate: _LearningRate | None = None
    """Learning rate."""
    momentum: _Momentum | None = None
    """Momentum; only for sgd and nag."""
    weight_decay: Decimal | None = None
    """Weight decay (MXNet's wd)."""
    beta1: _Beta | None = None
    """Decay of the mean of the gradients; only for adam, adamw and lamb."""
    beta2: _Beta | None = None
    """Decay of the mean of the squared gradients; only for adam, adamw and lamb."""
    epsilon: Decimal | None = None
    """Small number added to the divisor of adam, adamw, rmsprop and lamb, so that it is not
    zero."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.momentum) || !has(self.name) || self.name in ['sgd', 'nag']",
            "momentum is only for sgd and nag: remove it, or choose one of them",
        ),
        (
            "!(has(self.beta1) || has(self.beta2)) || !has(self.name) ||"
            " self.name in ['adam', 'adamw', 'lamb']",
            "beta1 and beta2 are only for adam, adamw and lamb: remove them, or choose one of"
            " these",
        ),
        (
            "!has(self.epsilon) || !has(self.name) || !(self.name in ['sgd', 'nag'])",
            "epsilon is not for sgd and nag: remove it",
        ),
    )


class Schedule(Struct, forbid_unknown_fields=True):
    """The change of the learning rate during the fit. Fields that are not set have the recipe's
    values."""

    name: Literal["constant", "step", "cosine", "onecycle"] | None = None
    """constant: no change. step: multiplied by `factor` after each of `stepEpochs`. cosine: down to
    zero. onecycle: up for three tenths of the fit, then down to almost zero."""
    warmup_epochs: Decimal | None = None
    """Epochs, or a fraction of one, of a linear rise from zero at the start."""
    step_epochs: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=1000)], ...], Meta(max_length=20)
    ] = ()
    """Epochs after which `step` lowers the rate."""
    factor: Fraction | None = None
    """Factor by which `step` multiplies the rate; 0.1 if it is not set."""

    cel: ClassVar[Rules] = (
        (
            "(has(self.name) && self.name == 'step') == has(self.stepEpochs)",
            "stepEpochs and the name step belong together: set both, or neither",
        ),
        (
            "!has(self.factor) || has(self.stepEpochs)",
            "factor is only for the name step: remove it, or set stepEpochs",
        ),
        (
            "!has(self.warmupEpochs) || !has(self.name) || self.name != 'onecycle' ||"
            " !self.warmupEpochs.matches('[1-9]')",
            "onecycle has its own warm-up: remove warmupEpochs, or set name to cosine",
        ),
    )


class EarlyStopping(Struct, forbid_unknown_fields=True):
    """The rule by which the last epoch is found, on a fifth of the training images that is held
    out."""

    patience: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Epochs in a row without a better accuracy on the held-out images after which the fit
    stops."""
    min_epochs: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Epochs that the fit takes at least."""
    tolerance: Fraction = "0"
    """Fraction of the best accuracy by which another one must exceed it to be better, such as
    "0.01"."""


class Training(Struct, forbid_unknown_fields=True):
    """The recipe, and settings in place of its numbers. Fields that are not set have the recipe's
    values."""

    recipe: RecipeName = "auto"
    """auto chooses for the hardware and the data. tutorial has the numbers of MXNet's fine-tuning
    tutorial. features computes the features of the trunk (the pretrained network below its new
    layer) once and trains the new layer on them. progressive goes on with the last blocks, and
    then with all layers. full starts from features and trains all layers, the pretrained ones more
    slowly."""
    time_budget_seconds: Annotated[int, Meta(ge=1, le=604800)] | None = None
    """Seconds that the recipe auto may take to choose and to fit, without reading the data and
    evaluating the model. 30 on CPUs and 1800 with GPUs if it is not set."""
    epochs: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """Passes over the training images."""
    batch_size_per_device: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Images of one step on one GPU; without GPUs all CPUs are one device."""
    seed: Annotated[int, Meta(ge=0, le=2147483647)] = 0
    """Seed of initialisation, order and augmentation."""
    optimizer: Optimizer = msgspec.field(default_factory=Optimizer)
    """The optimizer."""
    schedule: Schedule = msgspec.field(default_factory=Schedule)
    """The change of the learning rate."""
    augmentation: Augmentation | None = None
    """Random changes of training images. none: no changes. crop: place and mirroring. color:
    also light. strong: also size, shape and angle. Only for recipes that train on images."""
    label_smoothing: Fraction | None = None
    """Fraction of each target that is spread over all classes, such as "0.1"."""
    mixup: Fraction | None = None
    """alpha of the Beta distribution of the weights by which two images are mixed, such as
    "0.2"."""
    cutmix: Fraction | None = None
    """alpha of the Beta distribution of the fraction of an image that is not covered by a box of
    another one, such as "1.0". With mixup, each batch has one of the two. Only for recipes that
    train on images."""
    precision: Literal["float32", "float16"] = "float32"
    """Type of convolutions and matrix products while layers train. float16 takes less memory and
    can be faster on GPUs with tensor cores (compute capability 7.0 and later); parameters and
    BatchNorm's statistics stay float32. Only for recipes that train on images, and with GPUs; not
    yet run on one."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: all classes have the same weight in the loss, however many images they have."""
    sampling: Literal["natural", "balanced"] = "natural"
    """balanced: an epoch of the same length has equally many images of each class. Only for the
    recipe features."""
    gradient_clipping: Decimal | None = None
    """Largest norm of the gradient of all layers, such as "1.0": a longer gradient is shortened to
    it. 0: no clipping."""
    gradient_accumulation: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Batches whose mean gradient makes one update. Except for BatchNorm this is a batch so many
    times larger, in the memory of one batch."""
    weight_averaging: Literal["none", "ema", "soup"] = "none"
    """The weights of the model. none: those of the last step. ema: a moving average over the steps.
    soup: the mean over the ends of the last quarter of the epochs. Only for recipes that train on
    images."""
    early_stopping: EarlyStopping | None = None
    """First a fifth of the training images is held out, to find the epoch after which the accuracy
    on it gets no better; then all training images are fitted, up to that epoch. Takes at most twice
    the time. Only for recipes that train on images, and not with trainer.numNodes > 1."""
    on_divergence: Literal["Fail", "Retry"] = "Fail"
    """Retry: if the loss is NaN, the fit resumes once from its last good checkpoint at a tenth of
    the learning rate; the second time the job fails with Diverged. Not with
    trainer.numNodes > 1."""
    hyperparameters: Annotated[
        dict[str, Annotated[str, Meta(max_length=64)]],
        Meta(max_length=len(ALLOWED), extra={"cel": sagemaker_rules()}),
    ] = msgspec.field(default_factory=dict)
    """Hyperparameters of SageMaker's Image Classification (MXNet) by their names there, each value
    in quotes, such as learning_rate: "0.01". Nothing may be set under both names."""
    resume_from: Source | None = None
    """Model of an earlier FineTuneJob to start from, instead of a pretrained network: the folder of
    its status.output.uri, or the folder above it for the newest model. Classes may be added and
    left out; the new layer starts from the earlier model's weights for the classes it has."""
    min_accuracy: Fraction | None = None
    """Minimum accuracy, 0 to 1: below it the job fails with AccuracyBelowMinimum, and keeps the
    accuracy."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.timeBudgetSeconds) || self.recipe == 'auto'",
            "timeBudgetSeconds is only for the recipe auto: remove it, or set recipe to auto",
        ),
        *(
            (
                f"{unset} || self.recipe in {[*IMAGE_RECIPES]}",
                f"{name} is only for recipes that train on images: remove it, or set recipe to full"
                " or tutorial",
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
            "hyperparameters augmentation_type, early_stopping and precision_dtype float16 are only"
            " for recipes that train on images: remove them, or set recipe to full or tutorial",
        ),
        (
            "!has(self.hyperparameters) || !('lr_scheduler_step' in self.hyperparameters) ||"
            " !has(self.schedule) || !has(self.schedule.name)",
            "schedule.name and hyperparameters.lr_scheduler_step both set the schedule: remove one"
            " of them",
        ),
        (
            "!has(self.hyperparameters) || !('early_stopping' in self.hyperparameters) ||"
            " !has(self.earlyStopping)",
            "earlyStopping and hyperparameters.early_stopping both set early stopping: remove one"
            " of them",
        ),
        (
            "!has(self.sampling) || self.sampling == 'natural' || self.recipe == 'features'",
            "sampling balanced is only for the recipe features: set classWeights to balanced"
            " instead, or recipe to features",
        ),
        (
            "!has(self.sampling) || self.sampling == 'natural' || self.classWeights == 'none'",
            "sampling and classWeights both balance the classes: remove one of them",
        ),
    )
