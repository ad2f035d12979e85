"""The values of the dashboards' variables, as Grafana's own query function."""

from deploy.render.dashboards.queries.series import NAMESPACE, OPERATOR, select


def clusters() -> str:
    """Clusters, where there is such a label."""
    return _values("finetune_operator_build_info", "cluster", 'job="finetune-operator"')


def namespaces() -> str:
    """Namespaces that have FineTuneJobs."""
    return _values("finetune_jobs", "namespace", OPERATOR)


def job_names() -> str:
    """FineTuneJobs of the selected namespaces."""
    return _values("finetune_job_info", "name", OPERATOR, NAMESPACE)


def _values(metric: str, label: str, *matchers: str) -> str:
    return f"label_values({select(metric, *matchers)}, {label})"
