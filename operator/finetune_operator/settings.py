"""The operator's settings, one environment variable each; the chart's values map 1:1."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Self

PREFIX = "FINETUNE_OPERATOR_"
CHOICES = {
    "FINETUNE_OPERATOR_LOG_LEVEL": ("DEBUG", "INFO", "WARNING", "ERROR"),
    "FINETUNE_OPERATOR_IMAGE_PULL_POLICY": ("Always", "IfNotPresent", "Never"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Read once at start; a wrong value ends the process with the variable named."""

    trainer_image: str = ""
    """Image of trainer pods without GPUs, for jobs that name none."""
    trainer_gpu_image: str = ""
    """Image of trainer pods with GPUs, for jobs that name none."""
    image_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of trainer pods, for jobs that name none."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty: all of the cluster."""
    workers: int = 8
    """Reconciles at the same time; never two of one FineTuneJob."""
    progress_interval_seconds: float = 5
    """How often each running pod is asked, and each status written at most."""
    sweep_interval_seconds: float = 300
    """How often everything is listed, to find what a watch missed."""
    port: int = 8080
    """Port of /metrics, /healthz and /readyz."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    stuck_after_seconds: float = 15
    """Age at which a child that has not started is looked up in the Events."""
    backoff_seconds: float = 10
    """Wait after the first counted failure; doubled for each further one, up to 36 times this."""
    lease: str = ""
    """Namespace/name of the Lease by which several operators elect one; empty: there is but one."""
    lease_duration_seconds: float = 15
    """How long the others wait after the last renewal they have seen."""
    renew_deadline_seconds: float = 10
    """How long the leader writes after its last renewal."""
    retry_period_seconds: float = 2
    """Time between two tries to take or to renew the Lease."""
    node_lost_seconds: float = 60
    """How long a deleted pod may outstay its grace before its node is taken for lost."""

    def __post_init__(self) -> None:
        """Check what depends on several settings."""
        if self.lease and len([part for part in self.lease.split("/") if part]) != 2:
            raise ValueError(f"{PREFIX}LEASE: {self.lease!r} is not namespace/name")
        if not 2 * self.retry_period_seconds < self.renew_deadline_seconds:
            raise ValueError(
                f"{PREFIX}RETRY_PERIOD_SECONDS: {self.retry_period_seconds:g} must be less than"
                f" half of {PREFIX}RENEW_DEADLINE_SECONDS, {self.renew_deadline_seconds:g}"
            )
        if not self.renew_deadline_seconds < self.lease_duration_seconds:
            raise ValueError(
                f"{PREFIX}RENEW_DEADLINE_SECONDS: {self.renew_deadline_seconds:g} must be less than"
                f" {PREFIX}LEASE_DURATION_SECONDS, {self.lease_duration_seconds:g}"
            )

    def image(self, *, gpus: int) -> str:
        """Return the image of the pods of a job that names none."""
        return self.trainer_gpu_image if gpus else self.trainer_image

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Take FINETUNE_OPERATOR_<FIELD> for each field; raises ValueError naming the variable."""
        values: dict[str, object] = {}
        for field in dataclasses.fields(cls):
            name = PREFIX + field.name.upper()
            if (text := environment.get(name, "")) != "":
                values[field.name] = _parse(name, text, field.default)
        return cls(**values)  # type: ignore[arg-type]


def _parse(name: str, text: str, default: object) -> object:
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, str):
        return _choose(name, text)
    try:
        value = (
            int(text)
            if isinstance(default, int) and name.endswith(("PORT", "WORKERS"))
            else float(text)
        )
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a number") from None
    if not value > 0:
        raise ValueError(f"{name}: {text} must be greater than 0")
    return value


def _choose(name: str, text: str) -> str:
    choices = CHOICES.get(name)
    if choices and text not in choices:
        *most, last = choices
        raise ValueError(f"{name}: {text!r} is none of {', '.join(most)} or {last}")
    return text
