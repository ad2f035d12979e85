"""The operator's settings: one environment variable and one value of the chart for each."""

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
    """The settings, read once at start."""

    trainer_image: str = ""
    """Image of trainer pods without GPUs, for jobs that name none."""
    trainer_gpu_image: str = ""
    """Image of trainer pods with GPUs, for jobs that name none."""
    image_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of trainer pods, for jobs that name none."""
    trainer_user: int = 65532
    """User id of trainer pods, for jobs that name none; 0: the pods have none."""
    trainer_memory_request: str = "1Gi"
    """Memory request of trainer pods, for jobs without one."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty: all of the cluster."""
    workers: int = 8
    """Number of reconciles at the same time; never two of one FineTuneJob."""
    progress_interval_seconds: float = 5
    """Seconds between two polls of a running pod; its status is written no more often."""
    sweep_interval_seconds: float = 300
    """Seconds between two resyncs, which list everything to find what a watch has missed."""
    metrics_job_limit: int = 10_000
    """Number of FineTuneJobs that have metrics of their own; the others are only counted."""
    port: int = 8080
    """Port of /healthz and /readyz, and of /metrics unless that is served over TLS."""
    metrics_tls_port: int = 8443
    """Port of /metrics over TLS."""
    metrics_tls_directory: str = ""
    """Folder with tls.crt and tls.key for /metrics over TLS; empty: it is served without."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    stuck_after_seconds: float = 15
    """Age in seconds from which the Events of a Job or pod that does not start are read."""
    backoff_seconds: float = 10
    """Seconds to wait after the first counted failure; doubled for each more, up to 36 times."""
    lease: str = "finetune-system/finetune-operator-leader"
    """Namespace/name of the Lease of the leader election."""
    lease_duration_seconds: float = 15
    """Seconds that a standby waits after the last renewal it has seen."""
    renew_deadline_seconds: float = 10
    """Seconds that the leader may write after its last renewal."""
    retry_period_seconds: float = 2
    """Seconds between two attempts to take or renew the Lease."""
    node_lost_seconds: float = 60
    """Seconds after the grace period of a deleted pod until its node counts as lost."""

    def __post_init__(self) -> None:
        """Check the rules between settings."""
        if not all(self.lease.partition("/")) or self.lease.count("/") != 1:
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
        """Read FINETUNE_OPERATOR_<FIELD> for each field; a ValueError names the variable."""
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
            if isinstance(default, int) and name.endswith(("PORT", "WORKERS", "USER", "LIMIT"))
            else float(text)
        )
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a number") from None
    if not value > 0 and not (name.endswith(("USER", "LIMIT")) and value == 0):
        raise ValueError(f"{name}: {text} must be greater than 0")
    return value


def _choose(name: str, text: str) -> str:
    choices = CHOICES.get(name)
    if choices and text not in choices:
        *most, last = choices
        raise ValueError(f"{name}: {text!r} is none of {', '.join(most)} or {last}")
    return text
