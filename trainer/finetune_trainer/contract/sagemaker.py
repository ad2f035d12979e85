"""SageMaker's hyperparameters of Image Classification: the names taken over, and their bounds."""

from finetune_trainer.contract.values import Rules

_NUMBER = "[1-9][0-9]*"
_NUMBERS = (_NUMBER, "a whole number above 0")
_SMALL = "[1-9][eE]-0?[1-9]|[1-9][.][0-9][eE]-0?[1-8]"
_DECIMAL = (
    f"[0-9]{{1,9}}([.][0-9]{{1,9}})?|[.][0-9]{{1,9}}|{_SMALL}",
    "a decimal number, such as 0.01",
)
_BELOW_1 = (f"0|0?[.][0-9]{{1,9}}|{_SMALL}", "a decimal number below 1, such as 0.9")
_ANY = (".*", "anything")

SAGEMAKER: dict[str, tuple[str, str]] = {
    "epochs": _NUMBERS,
    "mini_batch_size": _NUMBERS,
    "augmentation_type": (
        "none|crop|crop_color|crop_color_transform",
        "none, crop, crop_color or crop_color_transform",
    ),
    "optimizer": ("sgd|nag|adam|rmsprop", "sgd, nag, adam or rmsprop"),
    "learning_rate": _DECIMAL,
    "momentum": _BELOW_1,
    "weight_decay": _DECIMAL,
    "beta_1": _BELOW_1,
    "beta_2": _BELOW_1,
    "eps": _DECIMAL,
    "lr_scheduler_step": (f"{_NUMBER}(, ?{_NUMBER})*", "epochs, such as 10,20"),
    "lr_scheduler_factor": _BELOW_1,
    "precision_dtype": ("float(16|32)", "float32 or float16"),
    "early_stopping": ("True|true|False|false", "True or False"),
    "early_stopping_min_epochs": _NUMBERS,
    "early_stopping_patience": _NUMBERS,
    "early_stopping_tolerance": _BELOW_1,
    "use_pretrained_model": ("1", "1: a network from scratch is not this trainer's work"),
    "multi_label": ("0", "0: each photo has one class here"),
    "use_weighted_loss": ("0", "0: training.classWeights balances classes"),
    "num_classes": _ANY,
    "num_training_samples": _ANY,
    "checkpoint_frequency": _ANY,
    "kv_store": _ANY,
    "top_k": _ANY,
}
"""Names of SageMaker's hyperparameters that are taken over, or needless: the pattern of what each
may be, and that in words."""
ELSEWHERE = {
    "num_layers": "model.name",
    "image_shape": "model.inputSize",
    "resize": "dataset.image.resizeShort",
    "gamma": "training.optimizer.name: adam",
}
"""Those that are refused: what says it here."""


def sagemaker_rules() -> Rules:
    """Return the CEL rules of `training.hyperparameters`."""
    names = (
        f"self.all(name, name in {[*SAGEMAKER, *ELSEWHERE]})",
        "names must be those of SageMaker's Image Classification that are known here: see"
        " docs/training.md",
    )
    elsewhere = (
        (f"!('{name}' in self)", f"remove {name}, and set {place} instead")
        for name, place in ELSEWHERE.items()
    )
    return (
        names,
        *elsewhere,
        *(
            (
                f"!('{name}' in self) || self['{name}'].matches('^({pattern})$')",
                f"{name} must be {what}",
            )
            for name, (pattern, what) in SAGEMAKER.items()
            if (pattern, what) != _ANY
        ),
        (
            "!('learning_rate' in self) || self['learning_rate'].matches('[1-9]')",
            "learning_rate must be above 0, such as 0.01",
        ),
    )
