"""The stages in their order, and how a process runs them. Read this first.

Stages are named as `module:function` and imported only by the process that runs them: the
supervisor, which uses this table too, must never load MXNet.
"""

import dataclasses
import faulthandler
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path

from finetune_trainer import recipes
from finetune_trainer.contract import ExitCode, Job
from finetune_trainer.contract.parse import parse_job
from finetune_trainer.recipes import auto
from finetune_trainer.run import threads
from finetune_trainer.run.cgroup import available_cpus, memory_limit
from finetune_trainer.run.context import Paths, Run
from finetune_trainer.run.failure import explain
from finetune_trainer.run.gang import Gang
from finetune_trainer.run.reporter import Reporter

_TEXT_LENGTH = 4096

SETTINGS = {"MXNET_SUBGRAPH_VERBOSE": "0", "OMP_WAIT_POLICY": "passive"}
"""Variables of all processes. Without the first, MXNet prints a line for each network that is bound
for inference. Without the second, a thread of OpenMP waits for the others by spinning: on a node
whose CPUs have other work too, that is most of the CPU time of training a last layer."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of the pipeline."""

    name: str
    function: str
    """`module:function`, called with a Run."""
    weight: int
    """Percent of the time of a typical run, for the overall progress."""
    follows_on: bool = False
    """True if it runs in the process of the stage before it: importing MXNet takes a second."""
    after_trunk: bool = True
    """False if it follows on only after a fit of the last layer alone, on CPUs: a training of the
    trunk has other threads, and MXNet keeps the memory of GPUs until its process ends."""


STAGES = (
    Stage("fetch", "finetune_trainer.fetch:check_and_fetch", 3),
    Stage("prepare", "finetune_trainer.dataset.stage:prepare", 10),
    Stage("model", "finetune_trainer.model.stage:build", 2),
    Stage("fit", "finetune_trainer.fit.stage:fit", 78, follows_on=True),
    Stage(
        "evaluate",
        "finetune_trainer.evaluate.stage:evaluate",
        4,
        follows_on=True,
        after_trunk=False,
    ),
    Stage("export", "finetune_trainer.export.stage:export", 2, follows_on=True),
    Stage("report", "finetune_trainer.export.result:report", 1, follows_on=True),
)


def by_process(stages: Sequence[Stage], job: Job, *, gpus: int) -> Iterator[list[Stage]]:
    """Yield the stages grouped by process, in their order. The job's recipe is looked at only after
    the stages before `fit` were yielded: the first one checks it.
    """
    process: list[Stage] = []
    for stage in stages:
        follows_on = stage.follows_on and (
            stage.after_trunk or not (gpus or _trains_trunk(job, gpus=gpus))
        )
        if process and not follows_on:
            yield process
            process = []
        process.append(stage)
    yield process


def _trains_trunk(job: Job, *, gpus: int) -> bool:
    """Return True if the recipe, or a trial of it, trains more than the last layer."""
    recipe = recipes.choose(job.training, gpus=gpus)
    return recipe.trains_trunk or auto.goes_deeper(job.training, gpus=gpus)


def paths_from(environment: Mapping[str, str], *, uid: str) -> Paths:
    """Return the directories that the environment sets, by default those of a pod."""
    workspace = Path(environment.get("FINETUNE_WORKSPACE", "/workspace"))
    return Paths(
        workspace=workspace,
        claims=Path(environment.get("FINETUNE_CLAIMS", "/claims")),
        models=Path(environment.get("FINETUNE_MODELS", "/models")),
        job=workspace / "jobs" / uid,
    )


def gpus_from(environment: Mapping[str, str]) -> int:
    """Return the number of GPUs of the pod."""
    return int(environment.get("FINETUNE_GPUS", "0"))


def run_from(environment: Mapping[str, str]) -> Run:
    """Return the input of a stage, from the environment of its process."""
    job = parse_job(environment.get("FINETUNE_JOB", ""))
    return Run(
        job=job,
        paths=paths_from(environment, uid=job.uid),
        reporter=Reporter.from_environment(),
        gpus=gpus_from(environment),
        threads=available_cpus(),
        memory=memory_limit(),
        gang=Gang.of(environment),
    )


def environment(stages: Container[str], job: Job, *, gpus: int, cpus: int) -> dict[str, str]:
    """Return the variables that a process must have before it imports MXNet for these stages."""
    plan = threads.for_inference(cpus=cpus)
    if "fit" in stages and gpus == 0 and _trains_trunk(job, gpus=gpus):
        recipe = recipes.choose(job.training, gpus=gpus)
        plan = threads.for_training(batch_size=recipe.batch_size, cpus=cpus)
    return SETTINGS | {"OMP_NUM_THREADS": str(plan.omp_threads)}


def run_stages(functions: Mapping[str, str]) -> int:
    """Run stages in this process, each a name and its function; return the exit code."""
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    run = run_from(os.environ)
    try:
        # Set them before a stage's module is loaded: MXNet reads them when it is imported.
        settings = environment(functions, run.job, gpus=run.gpus, cpus=run.threads)
        os.environ.update(settings)
        for name, function in functions.items():
            run.reporter.stage(name)
            _load(function)(run)
    except Exception as exception:
        error = explain(exception)
        if error.code is ExitCode.InternalError and error is not exception:
            traceback.print_exc()
        run.reporter.error(code=error.code, message=_safe(error.message), hint=_safe(error.hint))
        return error.code
    return 0


def _safe(text: str) -> str:
    """Return a text that fits into a report: no longer than a termination message, and with file
    names that are not UTF-8 escaped, for JSON cannot hold them.
    """
    return text.encode(errors="backslashreplace").decode()[:_TEXT_LENGTH]


def _load(function: str) -> Callable[[Run], None]:
    module, _, name = function.partition(":")
    loaded: Callable[[Run], None] = getattr(importlib.import_module(module), name)
    return loaded
