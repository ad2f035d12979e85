"""Hyperparameters of SageMaker: taken over, not needed, or refused by name."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from finetune_trainer import recipes
from finetune_trainer.contract import (
    SAGEMAKER,
    EarlyStopping,
    ExitCode,
    Optimizer,
    Schedule,
    TrainerError,
    Training,
)
from finetune_trainer.recipes import sagemaker


def merged(gpus: int = 0, **hyperparameters: str) -> Training:
    training = Training(recipe="full", hyperparameters=hyperparameters)
    return sagemaker.merged(training, gpus=gpus)


def test_a_job_of_sagemakers_documentation_is_taken_over() -> None:
    training = merged(
        gpus=4,
        num_classes="257",
        num_training_samples="15420",
        use_pretrained_model="1",
        multi_label="0",
        early_stopping="False",
        epochs="10",
        mini_batch_size="128",
        optimizer="adam",
        beta_1="0.9",
        beta_2="0.999",
        eps="1e-8",
        learning_rate="0.01",
        weight_decay="1e-4",
        lr_scheduler_step="4,8",
        lr_scheduler_factor="0.1",
        augmentation_type="crop_color_transform",
    )
    assert (training.epochs, training.batch_size_per_device) == (10, 32)
    assert training.augmentation == "strong"
    assert training.optimizer == Optimizer(
        name="adam",
        learning_rate="0.01",
        beta1="0.9",
        beta2="0.999",
        epsilon="0.00000001",
        weight_decay="0.0001",
    )
    schedule = training.schedule
    assert (schedule.name, schedule.step_epochs, schedule.factor) == ("step", (4, 8), "0.1")


def test_early_stopping_is_taken_over_if_it_is_on() -> None:
    found = merged(
        early_stopping="True", early_stopping_patience="3", early_stopping_tolerance="0.01"
    ).early_stopping
    assert found == EarlyStopping(patience=3, min_epochs=10, tolerance="0.01")
    assert merged(early_stopping="True").early_stopping == EarlyStopping()
    assert merged(early_stopping="False").early_stopping is None
    assert merged(early_stopping="False", early_stopping_patience="3").early_stopping is None
    with pytest.raises(TrainerError, match=r"early_stopping must be True"):
        merged(early_stopping_patience="3")


def test_early_stopping_set_twice_is_refused() -> None:
    hyperparameters = {"early_stopping": "True", "early_stopping_patience": "3"}
    training = Training(
        recipe="full", early_stopping=EarlyStopping(patience=4), hyperparameters=hyperparameters
    )
    with pytest.raises(TrainerError, match=r"set again as training.earlyStopping.patience"):
        sagemaker.merged(training, gpus=0)


@pytest.mark.parametrize("value", ["True", "False"])
def test_early_stopping_that_is_set_already_is_neither_turned_on_nor_off(value: str) -> None:
    training = Training(
        recipe="full",
        early_stopping=EarlyStopping(patience=4),
        hyperparameters={"early_stopping": value},
    )
    with pytest.raises(TrainerError, match=r"early_stopping is set again as training"):
        sagemaker.merged(training, gpus=0)


def test_a_factor_without_steps_changes_nothing_and_is_noted() -> None:
    training = Training(recipe="full", hyperparameters={"lr_scheduler_factor": "0.1"})
    assert sagemaker.merged(training, gpus=0) == Training(recipe="full")
    assert recipes.choose(training, gpus=0).schedule.name == "cosine"
    (note,) = sagemaker.needless(training)
    assert note == "lr_scheduler_factor: there is no lr_scheduler_step"
    schedule = Schedule(name="step", step_epochs=(3,))
    stepped = msgspec.structs.replace(training, schedule=schedule)
    assert sagemaker.merged(stepped, gpus=0).schedule.factor == "0.1"
    assert sagemaker.needless(stepped) == []


def test_hyperparameters_replace_numbers_of_the_recipe() -> None:
    training = Training(recipe="full", hyperparameters={"epochs": "3", "momentum": "0.5"})
    recipe = recipes.choose(training, gpus=0)
    assert (recipe.epochs, recipe.optimizer_params["momentum"]) == (3, 0.5)


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"num_layers": "50"}, "num_layers is not accepted: set model.name instead"),
        ({"gamma": "0.9"}, "gamma is not accepted: set training.optimizer.name"),
        ({"precision_dtype": "float64"}, "is 'float64', but must be float32 or float16"),
        ({"use_pretrained_model": "0"}, "is '0', but must be 1: a network from scratch"),
        ({"epoch": "3"}, "epoch is not one of those that are accepted: epochs"),
        ({"epochs": "many"}, "epochs is 'many', but must be a whole number above 0"),
        ({"epochs": "1001"}, "training.hyperparameters: .*epochs"),
        ({"augmentation_type": "mixup"}, "is 'mixup', but must be none, crop"),
        ({"learning_rate": "-0.1"}, "is '-0.1', but must be a decimal number, such as 0.01"),
        ({"learning_rate": "0.0"}, "is '0.0', but must be above 0"),
        ({"learning_rate": "0.0123456789"}, "must be a decimal number, such as 0.01"),
        ({"momentum": "9"}, "is '9', but must be a decimal number below 1, such as 0.9"),
        ({"beta_1": "1"}, "is '1', but must be a decimal number below 1, such as 0.9"),
        ({"eps": "1e-10"}, "is '1e-10', but must be a decimal number, such as 0.01"),
        ({"lr_scheduler_step": "4;8"}, "is '4;8', but must be epochs, such as 10,20"),
        ({"mini_batch_size": "30"}, "mini_batch_size 30 cannot be divided among 4 GPUs"),
    ],
)
def test_hyperparameters_that_are_not_accepted_are_refused_by_name(
    hyperparameters: dict[str, str], message: str
) -> None:
    with pytest.raises(TrainerError, match=message) as error:
        merged(gpus=4, **hyperparameters)
    assert error.value.code == ExitCode.InvalidSpec


@pytest.mark.parametrize(
    ("own", "name", "value"),
    [
        ({"epochs": 3}, "epochs", "3"),
        ({"optimizer": Optimizer(learning_rate="0.1")}, "learning_rate", "0.1"),
    ],
)
def test_nothing_may_be_set_under_both_names(own: dict[str, Any], name: str, value: str) -> None:
    training = Training(**own, hyperparameters={name: value})
    with pytest.raises(TrainerError, match=f"{name} is set again as training"):
        sagemaker.merged(training, gpus=0)


def test_steps_contradict_another_schedule() -> None:
    training = Training(
        recipe="full",
        schedule=Schedule(name="cosine"),
        hyperparameters={"lr_scheduler_step": "4,8"},
    )
    with pytest.raises(TrainerError, match=r"lr_scheduler_step contradicts training.schedule.name"):
        sagemaker.merged(training, gpus=0)


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "eps", "early_stopping_tolerance"])
@pytest.mark.parametrize("value", ["0.50", ".5", "1e-9", "5E-1", "1.5e-8", "1e-05", "2.5e-05"])
def test_every_number_that_is_accepted_is_a_valid_field(name: str, value: str) -> None:
    hyperparameters = {"early_stopping": "True", name: value}
    sagemaker.merged(Training(recipe="full", hyperparameters=hyperparameters), gpus=0)


def test_hyperparameters_that_change_nothing_are_noted() -> None:
    training = Training(hyperparameters={"num_classes": "10", "epochs": "2"})
    assert sagemaker.needless(training) == ["num_classes: the classes are counted"]


def test_every_name_has_one_meaning() -> None:
    fixed = {"use_pretrained_model", "multi_label", "use_weighted_loss"}
    for name, each in SAGEMAKER.items():
        meanings = [each.place, each.needless, each.instead, name in fixed and each.words]
        assert sum(map(bool, meanings)) == 1, name


def test_every_name_is_documented() -> None:
    text = Path("docs/training.md").read_text()
    assert {name for name in SAGEMAKER if not re.search(rf"\b{name}\b", text)} == set()
