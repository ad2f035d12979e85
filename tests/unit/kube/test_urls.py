"""What a request is called in the metrics: a bounded number of names, none of an object."""

import pytest
from finetune_operator.kube import urls


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", urls.fine_tune_jobs(), ("list", "finetunejobs")),
        ("GET", urls.fine_tune_jobs("team"), ("list", "finetunejobs")),
        ("GET", f"{urls.fine_tune_jobs('team')}/photos", ("get", "finetunejobs")),
        (
            "PATCH",
            f"{urls.fine_tune_jobs('team')}/photos/status",
            ("patch", "finetunejobs/status"),
        ),
        ("GET", urls.pods(), ("list", "pods")),
        ("DELETE", f"{urls.pods('team')}/a", ("delete", "pods")),
        ("POST", urls.jobs("team"), ("create", "jobs")),
        ("POST", urls.events("team"), ("create", "events")),
        ("GET", f"{urls.leases('system')}/leader", ("get", "leases")),
        ("GET", urls.workloads("team", "v1beta1"), ("list", "workloads")),
        ("GET", urls.GROUPS, ("get", "other")),
        ("GET", urls.KUEUE, ("get", "other")),
        ("GET", urls.RESOURCES, ("get", "other")),
    ],
)
def test_request_has_the_verb_and_the_resource_of_kubernetes(
    method: str, path: str, expected: tuple[str, str]
) -> None:
    assert urls.verb_and_resource(method, path, {}) == expected


def test_list_that_goes_on_is_a_watch() -> None:
    assert urls.verb_and_resource("GET", urls.pods(), {"watch": "1"}) == ("watch", "pods")
