"""The queries of the Operator dashboard: its processes, and the API server's answers."""

from deploy.render.dashboards.queries.series import (
    OPERATOR,
    RANGE,
    RATE,
    counted,
    quantile,
    select,
)


def leaders() -> str:
    """Operators that lead, in the cluster that has fewest."""
    leader = select("finetune_operator_leader", OPERATOR)
    return f"min(sum by (cluster) ({leader})) or vector(0)"


def not_ready() -> str:
    """Operators that are not ready."""
    return f"count({select('finetune_operator_ready', OPERATOR)} == 0) or vector(0)"


def version() -> str:
    """One series for each version that runs."""
    return f"count by (version, commit) ({select('finetune_operator_build_info', OPERATOR)})"


def failed_reconciles() -> str:
    """Reconciles that ended in an error, in the time range."""
    errors = select("finetune_operator_reconciles_total", OPERATOR, 'result="error"')
    return f"round(sum({counted(errors)}))"


def oldest_watch() -> str:
    """Seconds since the most idle watch was known to have missed nothing."""
    return f"max({_of_operator('watch_age_seconds')})"


def jobs_without_series() -> str:
    """Jobs beyond the limit, which these dashboards do not show one by one."""
    return f"max({_of_operator('jobs_without_series')})"


def reconciles() -> str:
    """Reconciles per second, by result."""
    return f"sum by (result) ({_rate('reconciles_total')})"


def queue_adds() -> str:
    """Jobs per second that are put into the queue."""
    return f"sum({_rate('workqueue_adds_total')})"


def queue_retries() -> str:
    """Of these, jobs per second that come back after an error or a conflict."""
    return f"sum({_rate('workqueue_retries_total')})"


def queue_depth() -> str:
    """Jobs that wait for a worker."""
    return f"max({_of_operator('workqueue_depth')})"


def longest_work() -> str:
    """Seconds that the worker has been at its job which is longest at it."""
    return f"max({_of_operator('workqueue_longest_running_seconds')})"


def queue_duration(share: float) -> str:
    """Seconds in the queue that this share stays below."""
    return _quantile(share, "workqueue_queue_duration_seconds_bucket")


def work_duration(share: float) -> str:
    """Seconds of a reconcile that this share stays below."""
    return _quantile(share, "workqueue_work_duration_seconds_bucket")


def requests() -> str:
    """Requests to the API server per second, by code of the answer."""
    return f"sum by (code) ({_rate('api_requests_total')})"


def failed_requests() -> str:
    """Requests per second that failed, by verb, resource and code."""
    failed = _rate("api_requests_total", 'code!~"1..|2..|3.."')
    return f"sum by (verb, resource, code) ({failed}) > 0"


def request_duration(share: float) -> str:
    """Seconds until the API server answers; a watch's answer is not waited for."""
    return _quantile(share, "api_request_duration_seconds_bucket", 'verb!="watch"')


def watch_ages() -> str:
    """Seconds since each watch was known to have missed nothing."""
    return f"max by (resource) ({_of_operator('watch_age_seconds')})"


def watch_errors() -> str:
    """Watches that ended by an error after they had begun, in the time range."""
    errors = _of_operator("watch_errors_total")
    return f"round(sum by (resource) ({counted(errors)}))"


def stale_caches() -> str:
    """Reconciles in the time range that listed what the watches had missed."""
    return f"round(sum(increase({_of_operator('stale_cache_total')}[{RANGE}])))"


def broken_namespaces() -> str:
    """Namespaces whose Jobs or pods cannot be listed or watched."""
    return f"max({_of_operator('broken_namespaces')})"


def unreadable_jobs() -> str:
    """FineTuneJobs that this version cannot read."""
    return f"max({_of_operator('unreadable_jobs')})"


def cpu(choice: str) -> str:
    """CPUs that the busiest (max) or idlest (min) process uses."""
    return f"{choice}(rate({select('process_cpu_seconds_total', OPERATOR)}[{RATE}]))"


def memory() -> str:
    """Resident memory of the largest process."""
    return f"max({select('process_resident_memory_bytes', OPERATOR)})"


def open_files() -> str:
    """The share of its file descriptors that a process has open; connections are among them."""
    limit = select("process_max_fds", OPERATOR)
    return f"max({select('process_open_fds', OPERATOR)} / {limit})"


def _of_operator(name: str, *matchers: str) -> str:
    return select(f"finetune_operator_{name}", OPERATOR, *matchers)


def _rate(counter: str, *matchers: str) -> str:
    return f"rate({_of_operator(counter, *matchers)}[{RATE}])"


def _quantile(share: float, buckets: str, *matchers: str) -> str:
    return quantile(share, f"sum by (le) ({_rate(buckets, *matchers)})")
