"""The processes of the stages: the environment that each gets."""

from typing import Any

import msgspec
import pytest
from finetune_trainer import pipeline
from finetune_trainer.contract import Job


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
    body: dict[str, Any] = {
        "name": "a", "namespace": "b", "uid": "c", "attempt": 1, "podUid": "d",
        "model": {"name": "efficientnet-lite0"},
        "dataset": {"source": {"uri": "file:///photos"}},
        "training": {"recipe": recipe},
    }  # fmt: skip
    job = msgspec.convert(body, type=Job)
    environment = pipeline.environment([stage], job, gpus=gpus, cpus=2)
    assert environment["OMP_NUM_THREADS"] == omp_threads
