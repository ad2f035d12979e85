"""The division of the CPUs between MXNet's contexts and OpenMP's threads.

Measured on 2 CPUs: training is fastest with one context per CPU and one OpenMP thread each (two
threads each are 2.7 times slower), inference with one context and all threads. MXNet reads
OMP_NUM_THREADS once, when it is imported, and its own default is half the machine, whatever the
container may use: `pipeline.environment` sets it before a stage imports MXNet.
"""

import dataclasses
import os

MIN_IMAGES_PER_CONTEXT = 4
"""The least images of a batch for each context: with fewer, BatchNorm's statistics are noisy."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The number of contexts that share a batch, and of OpenMP threads of each."""

    contexts: int
    omp_threads: int


def for_training(*, batch_size: int, cpus: int) -> Plan:
    """Return the most contexts that split the batch evenly, one for each CPU at most."""
    divisors = [n for n in range(1, cpus + 1) if batch_size % n == 0]
    contexts = max(n for n in divisors if n == 1 or batch_size // n >= MIN_IMAGES_PER_CONTEXT)
    return Plan(contexts, max(1, cpus // contexts))


def for_inference(*, cpus: int) -> Plan:
    """Return one context with all CPUs."""
    return Plan(1, cpus)


def contexts_in_use(*, cpus: int) -> int:
    """Return the number of contexts that use all CPUs with this process's OMP_NUM_THREADS."""
    return max(1, cpus // int(os.environ.get("OMP_NUM_THREADS", cpus)))
