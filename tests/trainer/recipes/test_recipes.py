"""Recipes: the tutorial's numbers, the choice of auto, and the user's settings."""

from typing import Any, get_args, get_type_hints

import pytest
from finetune_trainer import recipes
from finetune_trainer.contract import (
    IMAGE_RECIPES,
    ExitCode,
    Optimizer,
    Schedule,
    TrainerError,
    Training,
)
from finetune_trainer.recipes import auto, full

NAMES = get_args(get_type_hints(Training)["recipe"])


def test_every_recipe_that_a_job_may_name_is_in_the_table() -> None:
    assert set(recipes.RECIPES) == set(NAMES)


def test_the_api_server_knows_the_recipes_that_train_on_images() -> None:
    whole = {name for name, recipe in recipes.RECIPES.items() if recipe(0).trains_trunk}
    assert whole == set(IMAGE_RECIPES)


def test_tutorial_has_the_numbers_of_mxnets_tutorial() -> None:
    recipe = recipes.choose(Training(recipe="tutorial"), gpus=8)
    assert (recipe.epochs, recipe.batch_size, recipe.trains_trunk) == (8, 16, True)
    assert (recipe.optimizer, recipe.optimizer_params) == ("sgd", {"learning_rate": 0.01})
    assert (recipe.new_layer, recipe.checkpoint_epochs) == ("xavier", 1)


@pytest.mark.parametrize("gpus", [0, 4])
def test_auto_picks_features_and_gives_the_reason(gpus: int) -> None:
    recipe = recipes.choose(Training(), gpus=gpus)
    assert recipe.name == "features"
    assert not recipe.trains_trunk
    assert recipe.reason.startswith("auto: ")


def test_the_users_numbers_replace_the_recipes() -> None:
    optimizer = Optimizer(learning_rate="0.002", momentum="0.9", weight_decay="0.0001")
    training = Training(
        recipe="tutorial", epochs=3, batch_size_per_device=4, seed=9, optimizer=optimizer
    )
    recipe = recipes.choose(training, gpus=0)
    assert (recipe.epochs, recipe.batch_size, recipe.seed) == (3, 4, 9)
    assert recipe.optimizer == "sgd"
    assert recipe.optimizer_params == {"learning_rate": 0.002, "momentum": 0.9, "wd": 0.0001}


def test_another_optimizer_starts_from_its_own_defaults() -> None:
    recipe = recipes.choose(
        Training(recipe="features", optimizer=Optimizer(name="nag", momentum="0.8")), gpus=0
    )
    assert recipe.optimizer == "nag"
    assert recipe.optimizer_params == {"momentum": 0.8}


def test_full_trains_the_pretrained_layers_more_slowly_from_a_trained_head() -> None:
    recipe = recipes.choose(Training(recipe="full", seed=5, class_weights="balanced"), gpus=4)
    assert (recipe.trains, recipe.frozen_statistics, recipe.trunk_rate) == ("all", True, 0.1)
    assert (
        recipe.optimizer_params["learning_rate"]
        == 4 * full.recipe(gpus=1).optimizer_params["learning_rate"]
    )
    assert recipe.start is not None
    assert (recipe.start.trains, recipe.start.seed, recipe.start.balanced) == ("head", 5, True)


def test_progressive_goes_from_the_head_over_the_last_blocks_to_all_layers() -> None:
    recipe = recipes.choose(Training(recipe="progressive", seed=5), gpus=0)
    phases = [recipe]
    while phases[-1].start:
        phases.append(phases[-1].start)
    assert [phase.trains for phase in phases] == ["all", "last blocks", "head"]
    assert {phase.seed for phase in phases} == {5}


def test_pods_of_a_gang_start_from_the_pretrained_network() -> None:
    assert recipes.choose(Training(recipe="full"), gpus=1, pods=2).start is None
    with pytest.raises(TrainerError, match="progressive trains on one pod") as error:
        recipes.choose(Training(recipe="progressive"), gpus=1, pods=2)
    assert error.value.code == ExitCode.InvalidSpec


@pytest.mark.parametrize(
    ("budget", "gpus", "goes_deeper"),
    [(None, 0, False), (60, 0, True), (None, 2, True), (20, 2, False)],
)
def test_auto_tries_deeper_recipes_if_there_is_time(
    budget: int | None, gpus: int, goes_deeper: bool
) -> None:
    training = Training(time_budget_seconds=budget, seed=3, class_weights="balanced")
    assert auto.goes_deeper(training, gpus=gpus) == goes_deeper
    head = recipes.choose(training, gpus=gpus)
    tried = [recipe.name for recipe in auto.deeper(head, training, gpus=gpus, pods=1)]
    assert tried == (["last blocks", "progressive", "full"] if goes_deeper else [])


@pytest.mark.parametrize("own", [{"epochs": 5}, {"hyperparameters": {"epochs": "5"}}], ids=str)
def test_auto_tries_no_deeper_recipe_with_the_users_own_numbers(own: dict[str, Any]) -> None:
    training = Training(time_budget_seconds=600, **own)
    assert not auto.goes_deeper(training, gpus=0)


def test_auto_tries_deeper_recipes_with_hyperparameters_that_change_nothing() -> None:
    training = Training(time_budget_seconds=600, hyperparameters={"num_classes": "10"})
    assert auto.goes_deeper(training, gpus=0)


def test_auto_keeps_a_weight_decay_that_the_user_has_set() -> None:
    training = Training(optimizer=Optimizer(weight_decay="0.02"))
    head = recipes.choose(training, gpus=0)
    assert auto.heads(head) == (head,)
    heads = auto.heads(recipes.choose(Training(), gpus=0))
    decays = [recipe.optimizer_params["wd"] for recipe in heads]
    assert decays == [0.1, 0.03, 0.3, 0.01, 0.003]


def test_settings_of_the_fit_replace_single_numbers() -> None:
    schedule = Schedule(name="step", step_epochs=(3, 5), factor="0.2")
    training = Training(
        recipe="full", schedule=schedule, label_smoothing="0", mixup="0.2", augmentation="strong"
    )
    recipe = recipes.choose(training, gpus=0)
    assert (recipe.schedule.name, recipe.schedule.step_epochs) == ("step", (3, 5))
    assert (recipe.schedule.factor, recipe.schedule.warmup_epochs) == (0.2, 1.0)
    assert (recipe.smoothing, recipe.mixup, recipe.augmentation) == (0.0, 0.2, "strong")


def test_one_cycle_ignores_the_warm_up_of_the_recipe() -> None:
    recipe = recipes.choose(Training(recipe="full", schedule=Schedule(name="onecycle")), gpus=0)
    rates = [recipe.schedule.rate(epoch / 10, epochs=15) for epoch in range(45)]
    assert rates == sorted(rates)
    training = Training(recipe="full", schedule=Schedule(name="onecycle", warmup_epochs="1"))
    with pytest.raises(TrainerError, match=r"warmupEpochs is set, but onecycle has its own"):
        recipes.choose(training, gpus=0)


def test_the_start_of_a_recipe_is_retried_too() -> None:
    recipe = recipes.choose(Training(recipe="progressive", on_divergence="Retry"), gpus=0)
    assert recipe.start is not None
    assert recipe.start.start is not None
    assert recipe.retries == recipe.start.retries == recipe.start.start.retries is True


def test_settings_of_the_updates_and_of_the_images_replace_single_numbers() -> None:
    training = Training(
        recipe="tutorial",
        cutmix="1.0",
        weight_averaging="ema",
        gradient_clipping="2.5",
        gradient_accumulation=4,
        on_divergence="Retry",
    )
    recipe = recipes.choose(training, gpus=0)
    assert (recipe.cutmix, recipe.averaging, recipe.clipping) == (1.0, "ema", 2.5)
    assert (recipe.accumulation, recipe.retries, recipe.needs_targets) == (4, True, True)
    described = recipe.described()
    assert described["batches of an update"] == "4"
    assert described["gradient clipping"] == "2.5"


def test_tutorial_and_features_learn_from_labels_alone() -> None:
    for name in ("tutorial", "features"):
        assert not recipes.choose(Training(recipe=name), gpus=0).needs_targets


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("augmentation", Training(augmentation="strong")),
        ("cutmix", Training(recipe="features", cutmix="0.5")),
        ("weightAveraging", Training(weight_averaging="soup")),
    ],
)
def test_settings_for_images_are_refused_for_features_that_are_computed_once(
    name: str, training: Training
) -> None:
    with pytest.raises(TrainerError, match=rf"training.{name} .* features") as error:
        recipes.choose(training, gpus=0)
    assert error.value.code == ExitCode.InvalidSpec


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (Training(recipe="full", time_budget_seconds=60), "timeBudgetSeconds"),
        (Training(schedule=Schedule(name="step")), "schedule.stepEpochs"),
        (Training(schedule=Schedule(step_epochs=(3,))), "schedule.stepEpochs"),
        (Training(schedule=Schedule(factor="0.1")), "schedule.factor"),
        (Training(optimizer=Optimizer(learning_rate="0.0")), "optimizer.learningRate"),
        (Training(recipe="full", optimizer=Optimizer(momentum="1")), "optimizer.momentum"),
        (Training(optimizer=Optimizer(beta1="1.0")), "optimizer.beta1"),
        (Training(recipe="features", sampling="balanced", class_weights="balanced"), "sampling"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contradictions_are_refused_without_an_api_server_too(
    training: Training, words: str
) -> None:
    with pytest.raises(TrainerError, match=rf"training\.{words}") as error:
        recipes.choose(training, gpus=0)
    assert error.value.code == ExitCode.InvalidSpec
    assert error.value.hint


def test_features_accept_a_cutmix_of_zero() -> None:
    assert recipes.choose(Training(recipe="features", cutmix="0.0"), gpus=0).cutmix == 0


@pytest.mark.parametrize("recipe", ["tutorial", "progressive", "full", "auto"])
def test_balanced_sampling_of_images_is_refused_in_favor_of_class_weights(recipe: Any) -> None:
    with pytest.raises(TrainerError, match=r"training.sampling") as error:
        recipes.choose(Training(recipe=recipe, sampling="balanced"), gpus=0)
    assert error.value.code == ExitCode.InvalidSpec
    assert "classWeights" in error.value.hint


@pytest.mark.parametrize("training", [
    Training(recipe="features", optimizer=Optimizer(momentum="0.9")),
    Training(recipe="tutorial", optimizer=Optimizer(name="adam", momentum="0.9")),
])  # fmt: skip
def test_momentum_for_an_optimizer_without_one_is_refused(training: Training) -> None:
    with pytest.raises(TrainerError, match=r"training.optimizer.momentum") as error:
        recipes.choose(training, gpus=0)
    assert error.value.code == ExitCode.InvalidSpec
    assert "nag" in error.value.hint
