"""The dashboard's PromQL, one function per query, apart from the panels that show it.

`max by` before every sum: while an old and a new operator are both scraped, each reports all jobs.
"""

NAMESPACE = 'namespace=~"$namespace"'
JOB = f'{NAMESPACE}, name=~"$job"'
RATE = "$__rate_interval"


def job_names() -> str:
    """The values of the variable `job`, as Grafana's own query function."""
    return f"label_values(finetune_job_attempts{{{NAMESPACE}}}, name)"


def namespaces() -> str:
    """The values of the variable `namespace`."""
    return "label_values(finetune_jobs, namespace)"


def jobs_in(*phases: str) -> str:
    """Jobs in any of `phases`; zero, not nothing, when there are none."""
    selector = f'{NAMESPACE}, phase=~"{"|".join(phases)}"'
    return f"sum(max by (namespace, phase) (finetune_jobs{{{selector}}})) or vector(0)"


def jobs_by_phase() -> str:
    """Jobs in each phase."""
    return f"sum by (phase) (max by (namespace, phase) (finetune_jobs{{{NAMESPACE}}}))"


def best_accuracy() -> str:
    """The highest accuracy of the jobs that are selected."""
    return f"max(finetune_job_accuracy{{{JOB}}})"


def accuracy() -> str:
    """Accuracy of each job, as in its status."""
    return f"max by (namespace, name) (finetune_job_accuracy{{{JOB}}})"


def progress() -> str:
    """Progress of each job, 0 to 1."""
    return f"max by (namespace, name) (finetune_job_progress_ratio{{{JOB}}})"


def attempts() -> str:
    """Attempts each job has used."""
    return f"max by (namespace, name) (finetune_job_attempts{{{JOB}}})"


def ended_attempts() -> str:
    """Attempts that ended since the operator started, by reason."""
    return f"sum by (reason) (finetune_attempts_total{{{NAMESPACE}}})"


def completed_jobs() -> str:
    """Jobs that completed since the operator started."""
    return f"sum(finetune_jobs_completed_total{{{NAMESPACE}}})"


def failed_jobs() -> str:
    """Jobs that failed since the operator started, by reason."""
    return f"sum by (reason) (finetune_jobs_failed_total{{{NAMESPACE}}})"


def operator_version() -> str:
    """One series for each version that runs."""
    return "count by (version) (finetune_operator_build_info)"


def reconcile_duration(quantile: float) -> str:
    """Seconds that `quantile` of the reconciles stay below."""
    buckets = "finetune_operator_workqueue_work_duration_seconds_bucket"
    return f"histogram_quantile({quantile}, sum by (le) (rate({buckets}[{RATE}])))"


def reconciles() -> str:
    """Reconciles per second."""
    return f"sum(rate(finetune_operator_workqueue_work_duration_seconds_count[{RATE}]))"


def reconcile_errors() -> str:
    """Reconciles per second that ended in an error and will be repeated."""
    return f'sum(rate(finetune_operator_reconciles_total{{result="error"}}[{RATE}]))'


def queue_depth() -> str:
    """FineTuneJobs waiting for a worker."""
    return "max(finetune_operator_workqueue_depth)"


def watch_age() -> str:
    """Seconds since the last event of the most idle watch."""
    return "max(finetune_operator_watch_age_seconds)"
