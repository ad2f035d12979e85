"""What policies, webhooks and quotas refuse is told at once, and nothing is done twice."""

from tests.support.kubelet_world import KubeletWorld, error_of
from tests.support.world import Object, fine_tune_job

ADMISSION = "/apis/admissionregistration.k8s.io/v1"


def rule(resources: list[str], group: str, *operations: str) -> Object:
    return {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": resources,
    }


def in_namespace(world: KubeletWorld) -> Object:
    return {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}


def break_webhook(world: KubeletWorld) -> str:
    """Register a webhook for Jobs that nobody answers; return its path."""
    name = f"down-{world.namespace}"
    webhook = {
        "name": "vjob.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 1,
        "namespaceSelector": in_namespace(world),
        "clientConfig": {"url": "https://127.0.0.1:1/validate"},
        "rules": [rule(["jobs"], "batch", "CREATE")],
    }
    path = f"{ADMISSION}/validatingwebhookconfigurations"
    world.api.request("POST", path, {"metadata": {"name": name}, "webhooks": [webhook]})
    return f"{path}/{name}"


def deny(world: KubeletWorld, resources: list[str], group: str, *operations: str) -> str:
    """Deny these operations by a policy; return the path of its binding."""
    name = f"deny-{world.namespace}"
    spec = {
        "matchConstraints": {
            "resourceRules": [rule(resources, group, *operations)],
            "namespaceSelector": in_namespace(world),
        },
        "validations": [{"expression": "false", "message": "label team is required"}],
    }
    path = f"{ADMISSION}/validatingadmissionpolicies"
    world.api.request("POST", path, {"metadata": {"name": name}, "spec": spec})
    binding = {"policyName": name, "validationActions": ["Deny"]}
    bindings = f"{ADMISSION}/validatingadmissionpolicybindings"
    world.api.request("POST", bindings, {"metadata": {"name": name}, "spec": binding})
    return f"{bindings}/{name}"


def wait_until_denied(world: KubeletWorld, path: str, body: Object, word: str) -> None:
    """Wait until the API server applies a new policy or webhook."""

    def is_denied() -> bool:
        try:
            world.api.request("POST", f"{path}?dryRun=All", body)
        except Exception as error:
            return word in str(error)
        return False

    world.wait("the policy", is_denied)


def probe() -> Object:
    container = {"name": "a", "image": "a"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"metadata": {"name": "probe"}, "spec": {"template": template}}


def jobs_of(world: KubeletWorld) -> str:
    return f"/apis/batch/v1/namespaces/{world.namespace}/jobs"


def test_webhook_that_is_down_is_told_and_the_job_goes_on_when_it_is_back(
    world: KubeletWorld,
) -> None:
    webhook = break_webhook(world)
    wait_until_denied(world, jobs_of(world), probe(), "webhook")
    world.apply(fine_tune_job())
    failure = world.wait_for_failure("CreateRefused", seconds=5)
    assert "failed calling webhook" in failure["message"]
    assert world.status()["phase"] == "Pending"
    world.api.request("DELETE", webhook)
    world.wait_for_pod(seconds=30)
    assert "refusedSince" not in world.status()


def test_policy_that_never_lets_the_job_be_created_ends_with_the_startup_deadline(
    world: KubeletWorld,
) -> None:
    deny(world, ["jobs"], "batch", "CREATE")
    wait_until_denied(world, jobs_of(world), probe(), "label team")
    world.apply(fine_tune_job(startupDeadlineSeconds=5))
    world.wait_for_failure("CreateRefused", seconds=5)
    failed = world.wait_for_phase("Failed")
    assert "label team is required" in failed["failure"]["message"]
    assert failed["conditions"][-1]["reason"] == "StartupDeadlineExceeded"


def test_status_that_may_not_be_written_is_an_event_and_no_second_attempt(
    world: KubeletWorld,
) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    world.wait("the pod in the status", lambda: world.status().get("currentAttempt"))
    binding = deny(world, ["finetunejobs/status"], "finetune-operator.dev", "UPDATE")
    path = f"/apis/finetune-operator.dev/v1alpha1/namespaces/{world.namespace}/finetunejobs/photos"

    def is_denied() -> bool:
        try:
            world.api.merge(f"{path}/status?dryRun=All", {"status": {"eta": "1s"}})
        except Exception as error:
            return "label team" in str(error)
        return False

    world.wait("the policy", is_denied)
    world.exit(pod, 75, error_of(pod, job, "TemporaryFailure", "net"))

    def is_told() -> bool:
        return "label team" in world.kubectl("events", "--for", "finetunejob/photos").stdout

    world.wait("an Event", is_told)
    assert [each["metadata"]["name"] for each in world.items("jobs")] == ["photos-1"]
    world.api.request("DELETE", binding)
    world.wait("the second attempt", lambda: world.status().get("attempts") == 2, seconds=60)
