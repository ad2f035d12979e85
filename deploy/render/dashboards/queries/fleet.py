"""The queries of the Fleet dashboard: all FineTuneJobs of the selected namespaces."""

from deploy.render.dashboards.queries.series import (
    NAMESPACE,
    OPERATOR,
    counted,
    job_labels,
    of_job,
    quantile,
    select,
    with_labels,
)


def leaders() -> str:
    """1 if an operator works in each selected cluster."""
    return f"min(max by (cluster) ({select('finetune_operator_leader', OPERATOR)})) or vector(0)"


def firing_alerts() -> str:
    """Alerts of the project that fire: Prometheus' own series, which has no scrape job."""
    firing = 'alertname=~"FineTune.+", alertstate="firing", cluster=~"$cluster"'
    return f"max by (alertname, severity, namespace, name, reason) (ALERTS{{{firing}}})"


def jobs_in(*phases: str) -> str:
    """Jobs in any of `phases`; zero, not nothing, when there are none."""
    jobs = select("finetune_jobs", OPERATOR, NAMESPACE, f'phase=~"{"|".join(phases)}"')
    return f"sum(max by (cluster, namespace, phase) ({jobs})) or vector(0)"


def jobs_by_phase() -> str:
    """Jobs in each phase."""
    jobs = select("finetune_jobs", OPERATOR, NAMESPACE)
    return f"sum by (phase) (max by (cluster, namespace, phase) ({jobs}))"


def gpus_by_phase() -> str:
    """GPUs that unfinished jobs ask for, by phase."""
    unfinished = ('phase!~"Complete|Failed"',)
    gpus = with_labels(of_job("finetune_job_gpus"), "phase", matchers=unfinished)
    return f"sum by (phase) ({gpus})"


def completed_jobs() -> str:
    """Jobs that completed in the time range."""
    return f"round(sum({counted(_of_jobs('finetune_jobs_completed_total'))})) or vector(0)"


def failed_jobs() -> str:
    """Jobs that failed in the time range."""
    return f"round(sum({counted(_of_jobs('finetune_jobs_failed_total'))})) or vector(0)"


def failed_jobs_by_reason() -> str:
    """Jobs that failed in the time range, by reason."""
    return _by_reason("finetune_jobs_failed_total")


def ended_attempts_by_reason() -> str:
    """Attempts that ended in the time range, by reason."""
    return _by_reason("finetune_attempts_total")


def waited() -> str:
    """Seconds that each waiting job has waited, with the reason."""
    since = of_job("finetune_job_waiting_timestamp_seconds")
    return with_labels(f"(time() - {since})", "phase", "reason")


def longest_wait() -> str:
    """Seconds that the job has waited which waits longest."""
    return f"max(time() - {of_job('finetune_job_waiting_timestamp_seconds')})"


def failed() -> str:
    """When each job ended that failed in the time range, in ms, with the reason."""
    ended = of_job("finetune_job_completion_timestamp_seconds")
    recent = f"({ended} > time() - $__range_s)"
    return f"1000 * {with_labels(recent, 'reason', matchers=(_FAILED,))}"


def time_in_queue(share: float) -> str:
    """Seconds in phase Queued that this share of the jobs stayed below, in the time range."""
    return _quantile(share, "finetune_job_queue_wait_seconds_bucket")


def time_to_first_step(share: float) -> str:
    """Seconds from creation to the first step, of this share of the jobs, in the time range."""
    return _quantile(share, "finetune_job_time_to_first_step_seconds_bucket")


def run_time(share: float) -> str:
    """Seconds from start to end, of this share of the completed jobs, in the time range."""
    return _quantile(share, "finetune_job_run_seconds_bucket", 'result="complete"')


def jobs() -> str:
    """One series for each job, with phase and reason."""
    return job_labels("phase", "reason")


_FAILED = 'phase="Failed"'


def _of_jobs(metric: str, *matchers: str) -> str:
    return select(metric, OPERATOR, NAMESPACE, *matchers)


def _by_reason(counter: str) -> str:
    return f"round(sum by (reason) ({counted(_of_jobs(counter))})) > 0"


def _quantile(share: float, buckets: str, *matchers: str) -> str:
    return quantile(share, f"sum by (le) ({counted(_of_jobs(buckets, *matchers))})")
