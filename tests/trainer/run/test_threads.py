"""CPUs shared between contexts and OpenMP threads."""

import pytest
from finetune_trainer.run import threads


@pytest.mark.parametrize(
    ("batch_size", "cpus", "contexts", "omp_threads"),
    [
        (16, 1, 1, 1),
        (16, 2, 2, 1),
        (16, 3, 2, 1),
        (16, 8, 4, 2),
        (15, 4, 3, 1),
        (7, 4, 1, 4),
        (4, 4, 1, 4),
        (1, 2, 1, 2),
        (32, 16, 8, 2),
    ],
)
def test_training_splits_the_batch_evenly_over_the_cpus(
    batch_size: int, cpus: int, contexts: int, omp_threads: int
) -> None:
    plan = threads.for_training(batch_size=batch_size, cpus=cpus)
    assert (plan.contexts, plan.omp_threads) == (contexts, omp_threads)
