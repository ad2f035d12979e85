"""Why a job waits for a queue, or for a gate: told within seconds, in their words."""

from typing import Any

from tests.support.faults import queue
from tests.support.kubelet_world import KubeletWorld
from tests.support.world import Object, condition, fine_tune_job

POLICIES = "/apis/admissionregistration.k8s.io/v1beta1"
SECONDS = 5
SHORTAGE = (
    "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor default, "
    "1 more needed"
)


def queued_job(world: KubeletWorld, name: str = "team") -> Object:
    """Apply a FineTuneJob for a queue, and return its suspended Job."""
    job = fine_tune_job()
    job["metadata"]["labels"] = {queue.LABEL: name}
    world.apply(job)
    world.wait_for_phase("Queued")
    (found,) = world.items("jobs")
    return found


def set_workload(world: KubeletWorld, job: Object, **change: Any) -> None:
    """Play Kueue: change the Workload of a Job."""
    name = queue.workload_of(job)["metadata"]["name"]
    path = f"{queue.KUEUE}/namespaces/{world.namespace}/workloads/{name}"
    for part, value in change.items():
        sub = "/status" if part == "status" else ""
        world.api.merge(f"{path}{sub}", {part: value})


def hold(world: KubeletWorld, job: Object, reason: str, message: str) -> None:
    """Play Kueue: make a Workload of a Job, which has no quota."""
    path = f"{queue.KUEUE}/namespaces/{world.namespace}/workloads"
    world.api.request("POST", path, queue.workload_of(job))
    set_workload(world, job, status=queue.without_quota(reason, message))


def wait_for_message(world: KubeletWorld, message: str) -> None:
    world.wait(
        message,
        lambda: message in condition(world.status(), "PodsReady").get("message", ""),
        seconds=SECONDS,
    )


def test_cause_on_the_workload_is_in_the_status_within_seconds(world: KubeletWorld) -> None:
    job = queued_job(world)
    hold(world, job, "Pending", SHORTAGE)
    wait_for_message(world, SHORTAGE)
    set_workload(
        world, job, status=queue.without_quota("Inadmissible", "ClusterQueue a is inactive")
    )
    wait_for_message(world, "ClusterQueue a is inactive")
    assert world.status()["failure"]["reason"] == "QueueBlocked"


def test_deactivated_workload_is_told_with_the_remedy(world: KubeletWorld) -> None:
    job = queued_job(world)
    hold(world, job, "Pending", SHORTAGE)
    text = "The workload is deactivated due to exceeding the maximum number of re-queuing retries"
    evicted = queue.condition("Evicted", "True", "Deactivated", text)
    set_workload(world, job, spec={"active": False}, status={"conditions": [evicted]})
    failure = world.wait_for_failure("WorkloadDeactivated", seconds=SECONDS)
    assert text in failure["message"]
    assert "spec.suspend" in failure["hint"]


def test_corrected_queue_reaches_the_job_that_waits(world: KubeletWorld) -> None:
    job = queued_job(world, "tema")
    world.kubectl("label", "finetunejob", "photos", "--overwrite", f"{queue.LABEL}=team")

    def is_corrected() -> bool:
        (found,) = world.items("jobs")
        assert found["metadata"]["uid"] == job["metadata"]["uid"]
        return bool(found["metadata"]["labels"][queue.LABEL] == "team")

    world.wait("the label on the Job", is_corrected, seconds=SECONDS)


def test_gated_pod_is_queued_and_starts_when_its_gate_is_removed(world: KubeletWorld) -> None:
    gate_pods(world)
    world.apply(fine_tune_job(startupDeadlineSeconds=3))
    world.wait_for_phase("Queued")
    wait_for_message(world, "example.com/budget")
    (pod,) = world.pods()
    path = f"/api/v1/namespaces/{world.namespace}/pods/{pod['metadata']['name']}"
    world.api.merge(path, {"spec": {"schedulingGates": None}})
    world.run(world.wait_for_pod())
    world.wait("its start", lambda: condition(world.status(), "PodsReady")["status"] == "True")


def gate_pods(world: KubeletWorld) -> None:
    """Have every new pod of the namespace wait for a gate."""
    name = f"gate-{world.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"]}
    change = (
        "Object{spec: Object.spec{schedulingGates: "
        "[Object.spec.schedulingGates{name: 'example.com/budget'}]}}"
    )
    spec = {
        "matchConstraints": {
            "resourceRules": [{**rule, "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
        },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}
        ],
    }
    path = f"{POLICIES}/mutatingadmissionpolicies"
    world.api.request("POST", path, {"metadata": {"name": name}, "spec": spec})
    binding = {"metadata": {"name": name}, "spec": {"policyName": name}}
    world.api.request("POST", f"{POLICIES}/mutatingadmissionpolicybindings", binding)

    def is_gated() -> bool:
        unprivileged = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        probe = {
            "metadata": {"generateName": "probe-"},
            "spec": {
                "securityContext": {
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{"name": "a", "image": "a", "securityContext": unprivileged}],
            },
        }
        pods = f"/api/v1/namespaces/{world.namespace}/pods?dryRun=All"
        answer = world.api.request("POST", pods, probe)
        return bool(answer["spec"].get("schedulingGates"))

    world.wait("the policy", is_gated)
