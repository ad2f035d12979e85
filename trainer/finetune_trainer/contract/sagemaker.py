"""The hyperparameters of SageMaker's "Image Classification - MXNet": one table, with CEL rules.

Each name is taken over, changes nothing, has one possible value, or is refused with a remedy.
"""

import decimal
from collections.abc import Callable
from typing import NamedTuple

from finetune_trainer.contract.values import Rules


class Hyperparameter(NamedTuple):
    """One of SageMaker's hyperparameters, and what becomes of it."""

    place: str = ""
    """The field of `training` that takes its value."""
    pattern: str = ".*"
    """Regular expression of the allowed values."""
    words: str = ""
    """The allowed values in words."""
    read: Callable[[str], object] = str
    """The function that turns its text into the field's value."""
    needless: str = ""
    """The reason why it is not needed, and changes nothing."""
    instead: str = ""
    """The field to set instead; the hyperparameter is refused."""


def _decimal(text: str) -> str:
    """Return a number without an exponent, as the API has decimals: 1e-8 -> 0.00000001."""
    return f"{decimal.Decimal(text):f}"


def _truth(text: str) -> bool:
    return text.lower() == "true"


def _steps(text: str) -> list[int]:
    return [int(step) for step in text.split(",")]


_AUGMENTATIONS = {
    "none": "none",
    "crop": "crop",
    "crop_color": "color",
    "crop_color_transform": "strong",
}
_NUMBER = "[1-9][0-9]*"
_SMALL = "[1-9][eE]-0?[1-9]|[1-9][.][0-9][eE]-0?[1-8]"
_WHOLE = (_NUMBER, "a whole number above 0", int)
_DECIMAL = (
    f"[0-9]{{1,9}}([.][0-9]{{1,9}})?|[.][0-9]{{1,9}}|{_SMALL}",
    "a decimal number, such as 0.01",
    _decimal,
)
_BELOW_1 = (f"0|0?[.][0-9]{{1,9}}|{_SMALL}", "a decimal number below 1, such as 0.9", _decimal)

SAGEMAKER: dict[str, Hyperparameter] = {
    "epochs": Hyperparameter("epochs", *_WHOLE),
    "mini_batch_size": Hyperparameter("batchSizePerDevice", *_WHOLE),
    "augmentation_type": Hyperparameter(
        "augmentation",
        "none|crop|crop_color|crop_color_transform",
        "none, crop, crop_color or crop_color_transform",
        _AUGMENTATIONS.__getitem__,
    ),
    "optimizer": Hyperparameter(
        "optimizer.name", "sgd|nag|adam|rmsprop", "sgd, nag, adam or rmsprop"
    ),
    "learning_rate": Hyperparameter("optimizer.learningRate", *_DECIMAL),
    "momentum": Hyperparameter("optimizer.momentum", *_BELOW_1),
    "weight_decay": Hyperparameter("optimizer.weightDecay", *_DECIMAL),
    "beta_1": Hyperparameter("optimizer.beta1", *_BELOW_1),
    "beta_2": Hyperparameter("optimizer.beta2", *_BELOW_1),
    "eps": Hyperparameter("optimizer.epsilon", *_DECIMAL),
    "lr_scheduler_step": Hyperparameter(
        "schedule.stepEpochs", f"{_NUMBER}(, ?{_NUMBER})*", "epochs, such as 10,20", _steps
    ),
    "lr_scheduler_factor": Hyperparameter("schedule.factor", *_BELOW_1),
    "precision_dtype": Hyperparameter("precision", "float(16|32)", "float32 or float16"),
    "early_stopping": Hyperparameter(
        "earlyStopping.on", "True|true|False|false", "True or False", _truth
    ),
    "early_stopping_min_epochs": Hyperparameter("earlyStopping.minEpochs", *_WHOLE),
    "early_stopping_patience": Hyperparameter("earlyStopping.patience", *_WHOLE),
    "early_stopping_tolerance": Hyperparameter("earlyStopping.tolerance", *_BELOW_1),
    "use_pretrained_model": Hyperparameter(
        pattern="1", words="1: a network from scratch is not supported"
    ),
    "multi_label": Hyperparameter(pattern="0", words="0: each photo has one class here"),
    "use_weighted_loss": Hyperparameter(
        pattern="0", words="0: training.classWeights balances classes"
    ),
    "num_classes": Hyperparameter(needless="the classes are counted"),
    "num_training_samples": Hyperparameter(needless="the photos are counted"),
    "checkpoint_frequency": Hyperparameter(needless="a checkpoint is saved after every epoch"),
    "kv_store": Hyperparameter(
        needless="gradients are added up in step (dist_sync) with trainer.numNodes"
    ),
    "top_k": Hyperparameter(needless="the report has it"),
    "num_layers": Hyperparameter(instead="model.name"),
    "image_shape": Hyperparameter(instead="model.inputSize"),
    "resize": Hyperparameter(instead="dataset.image.resizeShort"),
    "gamma": Hyperparameter(instead="training.optimizer.name: adam"),
}
"""All hyperparameters that SageMaker documents, by name."""
ALLOWED = tuple(name for name, each in SAGEMAKER.items() if not each.instead)


def sagemaker_rules() -> Rules:
    """Return the CEL rules of `training.hyperparameters`."""
    return (
        (
            f"self.all(name, name in {[*SAGEMAKER]})",
            "each name must be a hyperparameter of SageMaker's Image Classification that is"
            " accepted here: see docs/training.md",
        ),
        *(
            (f"!('{name}' in self)", f"remove {name}, and set {each.instead} instead")
            for name, each in SAGEMAKER.items()
            if each.instead
        ),
        *(
            (
                f"!('{name}' in self) || self['{name}'].matches('^({each.pattern})$')",
                f"{name} must be {each.words}",
            )
            for name, each in SAGEMAKER.items()
            if each.pattern != ".*"
        ),
        (
            "!('learning_rate' in self) || self['learning_rate'].matches('[1-9]')",
            "learning_rate must be above 0, such as 0.01",
        ),
    )
