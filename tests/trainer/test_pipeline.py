"""The processes of the stages: the environment that each gets."""

from typing import Any

import msgspec
import pytest
from finetune_trainer import pipeline
from finetune_trainer.contract import Job, TrainerError


@pytest.mark.parametrize(
    ("stage", "recipe", "gpus", "omp_threads"),
    [
        ("fit", "tutorial", 0, "1"),
        ("fit", "features", 0, "2"),
        ("fit", "auto", 0, "2"),
        ("evaluate", "tutorial", 0, "2"),
        ("fit", "tutorial", 1, "2"),
    ],
)
def test_each_stage_gets_the_threads_that_suit_it(
    stage: str, recipe: str, gpus: int, omp_threads: str
) -> None:
    environment = pipeline.environment([stage], make(recipe), gpus=gpus, cpus=2)
    assert environment["OMP_NUM_THREADS"] == omp_threads


@pytest.mark.parametrize(
    ("training", "gpus", "last_process"),
    [
        ({"recipe": "auto"}, 0, ["model", "fit", "evaluate", "export", "report"]),
        ({"recipe": "features"}, 0, ["model", "fit", "evaluate", "export", "report"]),
        ({"recipe": "auto", "timeBudgetSeconds": 300}, 0, ["evaluate", "export", "report"]),
        ({"recipe": "tutorial"}, 0, ["evaluate", "export", "report"]),
        ({"recipe": "features"}, 1, ["evaluate", "export", "report"]),
    ],
)
def test_the_evaluation_shares_a_process_only_with_a_fit_of_the_last_layer_on_cpus(
    training: dict[str, Any], gpus: int, last_process: list[str]
) -> None:
    job = make(**training)
    processes = list(pipeline.by_process(pipeline.STAGES, job, gpus=gpus))
    assert [stage.name for stage in processes[-1]] == last_process
    assert [stage for process in processes for stage in process] == list(pipeline.STAGES)


def test_a_recipe_is_looked_at_only_after_the_first_stages_have_checked_it() -> None:
    job = make("features", augmentation="strong")
    processes = pipeline.by_process(pipeline.STAGES, job, gpus=0)
    assert [[stage.name for stage in next(processes)] for _ in range(2)] == [["fetch"], ["prepare"]]
    with pytest.raises(TrainerError):
        next(processes)


def make(recipe: str, **training: object) -> Job:
    body: dict[str, Any] = {
        "name": "a", "namespace": "b", "uid": "c", "attempt": 1, "podUid": "d",
        "model": {"name": "efficientnet-lite0"},
        "dataset": {"source": {"uri": "file:///photos"}},
        "training": {"recipe": recipe} | training,
    }  # fmt: skip
    return msgspec.convert(body, type=Job)
