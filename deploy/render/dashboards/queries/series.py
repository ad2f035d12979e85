"""What all queries are made of: selectors, and sums that count nothing twice.

The label `cluster` is there where one Prometheus has several; $cluster is then not ".*".
"""

OPERATOR = 'job="finetune-operator", cluster=~"$cluster"'
TRAINER = 'job="finetune-trainer", cluster=~"$cluster"'
DCGM = 'job=~".*dcgm-exporter", cluster=~"$cluster"'
NAMESPACE = 'namespace=~"$namespace"'
JOB = f'{NAMESPACE}, name=~"$finetunejob"'
BY_JOB = "cluster, namespace, name"
RATE = "$__rate_interval"
RANGE = "$__range"


def select(metric: str, *matchers: str) -> str:
    """The series of a metric that have these labels."""
    return f"{metric}{{{', '.join(matchers)}}}"


def of_job(metric: str, *matchers: str) -> str:
    """A metric of each selected job, once: an old and a new operator may both be scraped."""
    return f"max by ({BY_JOB}) ({select(metric, OPERATOR, JOB, *matchers)})"


def job_labels(*labels: str, matchers: tuple[str, ...] = ()) -> str:
    """A 1 for each selected job, with these labels of its info."""
    info = select("finetune_job_info", OPERATOR, JOB, *matchers)
    return f"max by ({', '.join((BY_JOB, *labels))}) ({info})"


def with_labels(series: str, *labels: str, matchers: tuple[str, ...] = ()) -> str:
    """`series` of jobs, with these labels of their info too, of which each job has one: for a
    moment a job has two phases where a new operator leads.
    """
    joined = f"on ({BY_JOB}) group_left ({', '.join(labels)})"
    info = f"topk by ({BY_JOB}) (1, {job_labels(*labels, matchers=matchers)})"
    return f"{series} * {joined} {info}"


def counted(counter: str) -> str:
    """What a counter counted in the time range, with the first of a series, which `increase` omits.

    A series that was not there when the range began has counted all that it has in the range.
    """
    new = f"last_over_time({counter}[{RANGE}]) unless {counter} offset {RANGE}"
    return f"(({new}) or increase({counter}[{RANGE}]))"


def quantile(share: float, buckets: str) -> str:
    """The value that this share of the observations is below; nothing if there are none."""
    return f"histogram_quantile({share}, {buckets}) >= 0"
