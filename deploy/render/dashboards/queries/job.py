"""The queries of the Job dashboard: one FineTuneJob.

Curves are of the operator's metrics, which stay when the pods are gone; steps, memory and GPUs are
of the trainer's, and of dcgm-exporter's.
"""

from collections.abc import Sequence

from deploy.render.dashboards.queries.series import (
    BY_JOB,
    DCGM,
    JOB,
    OPERATOR,
    RATE,
    TRAINER,
    job_labels,
    of_job,
    select,
)


def info() -> str:
    """What the job trains, as labels."""
    return job_labels("phase", "reason", "recipe", "model", "queue", "dataset")


def phase() -> str:
    """The phase, as a label."""
    return job_labels("phase")


def reason() -> str:
    """The reason of status.failure, as a label; nothing if there is none."""
    return job_labels("reason", matchers=('reason!=""',))


def phase_number(phases: Sequence[str]) -> str:
    """The position of the job's phase in `phases`, from 1: a timeline has only numbers."""
    matchers = [(f'phase="{phase}"',) for phase in phases]
    numbers = [f"{n} * {job_labels(matchers=phase)}" for n, phase in enumerate(matchers, 1)]
    return " or ".join(numbers)


def new_attempt() -> str:
    """The number of an attempt, where it began; the first one begins with the job."""
    attempts = select("finetune_job_attempts", OPERATOR, JOB)
    earlier = f"max by ({BY_JOB}) ({attempts} offset $__interval)"
    return f"({of_job('finetune_job_attempts')} > 1) > {earlier}"


def step_seconds(choice: str) -> str:
    """Seconds of one step, in the slowest (max) or fastest (min) pod."""
    return f"{choice}({_rate('step_seconds_total')} / {_rate('steps_total')})"


def share_of_time(name: str) -> str:
    """Seconds in each second that the pods spend on something, on average."""
    return f"avg({_rate(f'{name}_seconds_total')})"


def checkpoint_seconds() -> str:
    """Seconds that it took to save, on average, where something was saved."""
    return f"sum({_rate('checkpoint_seconds_total')}) / (sum({_rate('checkpoints_total')}) > 0)"


def memory() -> str:
    """Memory of the pod that uses most."""
    return f"max({_of_trainer('memory_bytes')})"


def memory_limit() -> str:
    """The smallest limit of a pod."""
    return f"min({_of_trainer('memory_limit_bytes')})"


def gpu_use(choice: str) -> str:
    """Use of the GPUs of all pods: avg, or the least used one (min)."""
    return f"{choice}({_of_trainer('gpu_utilization_ratio')})"


def gpu_memory() -> str:
    """Memory in use on the fullest GPU."""
    return f"max({_of_trainer('gpu_memory_used_bytes')})"


def gpu_memory_total() -> str:
    """Memory of the smallest GPU."""
    return f"min({_of_trainer('gpu_memory_total_bytes')})"


def dcgm_gpu_use(choice: str) -> str:
    """Use of the GPUs as dcgm-exporter counts it, in percent."""
    return f"{choice}({_of_dcgm('DCGM_FI_DEV_GPU_UTIL')})"


def dcgm_power() -> str:
    """Watts of all GPUs together."""
    return f"sum({_of_dcgm('DCGM_FI_DEV_POWER_USAGE')})"


def _of_trainer(name: str) -> str:
    return select(f"finetune_trainer_{name}", TRAINER, JOB)


def _rate(counter: str) -> str:
    return f"rate({_of_trainer(counter)}[{RATE}])"


def _of_dcgm(metric: str) -> str:
    """By name of the pod: dcgm-exporter's own labels have another name without honorLabels."""
    pod = '"$finetunejob-[0-9]+-.+"'
    own = select(metric, DCGM, 'namespace=~"$namespace"', f"pod=~{pod}")
    renamed = select(metric, DCGM, 'exported_namespace=~"$namespace"', f"exported_pod=~{pod}")
    return f"{own} or {renamed}"
