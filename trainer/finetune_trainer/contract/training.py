"""`spec.training`: how the network is fitted."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from finetune_trainer.contract.values import Decimal, Fraction, Rules, Struct

_Beta = Annotated[
    Fraction, Meta(extra={"cel": (("!self.matches('^1')", 'must be below 1, such as "0.9"'),)})
]


class Optimizer(Struct, forbid_unknown_fields=True):
    """The optimizer; what is not set is the recipe's."""

    name: Literal["sgd", "nag", "adam", "adamw", "rmsprop", "lamb"] | None = None
    """MXNet's name of the optimizer."""
    learning_rate: (
        Annotated[
            Decimal,
            Meta(extra={"cel": (("self.matches('[1-9]')", 'must be above 0, such as "0.01"'),)}),
        ]
        | None
    ) = None
    """Learning rate."""
    momentum: (
        Annotated[
            Decimal,
            Meta(extra={"cel": (("!self.matches('^0*[1-9]')", 'must be below 1, such as "0.9"'),)}),
        ]
        | None
    ) = None
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
    )


SAGEMAKER = (
    *("epochs", "mini_batch_size", "augmentation_type", "optimizer", "learning_rate", "momentum"),
    *("weight_decay", "beta_1", "beta_2", "eps", "lr_scheduler_step", "lr_scheduler_factor"),
    *("num_classes", "num_training_samples", "checkpoint_frequency", "kv_store", "top_k"),
    *("use_pretrained_model", "multi_label", "use_weighted_loss", "precision_dtype"),
    "early_stopping",
)
"""Names of SageMaker's hyperparameters that are taken over, or needless at one value."""


class Training(Struct, forbid_unknown_fields=True):
    """How the network is fitted; what is not set is the recipe's."""

    recipe: Literal["auto", "tutorial", "features", "full"] = "auto"
    """auto picks for the hardware and the data; tutorial repeats MXNet's fine-tuning tutorial
    number by number; features computes the trunk's features once and trains the head on them;
    full trains all layers from there, the pretrained ones more slowly."""
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
    augmentation: Literal["none", "crop", "color", "strong"] | None = None
    """How much training images are changed each time: none; crop: a random place, mirrored or not;
    color: and other light; strong: and another size, shape and angle. Of recipes that train on
    images."""
    label_smoothing: Fraction | None = None
    """Share of each target that is spread over all classes, such as "0.1"."""
    mixup: Fraction | None = None
    """alpha of the Beta distribution that two images are mixed by, such as "0.2"."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: every class counts alike, however many images it has."""
    hyperparameters: Annotated[
        dict[str, Annotated[str, Meta(max_length=64)]],
        Meta(
            max_length=len(SAGEMAKER),
            extra={
                "cel": (
                    (
                        f"self.all(name, name in {list(SAGEMAKER)})",
                        "names must be those of SageMaker's Image Classification that are known"
                        " here: see docs/training.md",
                    ),
                )
            },
        ),
    ] = msgspec.field(default_factory=dict)
    """Hyperparameters of SageMaker's Image Classification (MXNet) by their names there, each in
    quotes, such as learning_rate: "0.01". Nothing may be set under both names."""
    min_accuracy: Fraction | None = None
    """The job fails with AccuracyBelowMinimum (and keeps the accuracy) below this, 0 to 1."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.augmentation) || self.recipe in ['tutorial', 'full']",
            "augmentation is of recipes that train on images: remove it, or set recipe to full or"
            " tutorial",
        ),
    )
