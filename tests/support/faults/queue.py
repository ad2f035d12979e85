"""A small stand-in for Kueue: a Job with a queue label is created suspended, and whoever plays the
queue lets it run and takes it back.

Kueue suspends by a mutating webhook; here a mutating admission policy does the same. Workloads have
the shapes and words of Kueue 0.19.
"""

from tests.cluster.client import Api
from tests.support.faults import users
from tests.support.faults.watched_cluster import MERGE, Namespace, Object, is_ended

LABEL = "kueue.x-k8s.io/queue-name"
_PATH = "/apis/admissionregistration.k8s.io/v1beta1"
_POLICY: Object = {
    "metadata": {"name": "queue"},
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["batch"],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["jobs"],
                }
            ]
        },
        "matchConditions": [
            {
                "name": "queued",
                "expression": f"has(object.metadata.labels) && '{LABEL}' in object.metadata.labels",
            }
        ],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{spec: Object.spec{suspend: true}}"},
            }
        ],
    },
}
KUEUE = "/apis/kueue.x-k8s.io/v1beta2"
_WORKLOADS: Object = {
    "metadata": {"name": "workloads.kueue.x-k8s.io"},
    "spec": {
        "group": "kueue.x-k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "Workload", "plural": "workloads", "singular": "workload"},
        "versions": [
            {
                "name": "v1beta2",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
_BINDING: Object = {"metadata": {"name": "queue"}, "spec": {"policyName": "queue"}}


def install(api: Api) -> None:
    """Have the API server suspend queued Jobs from now on, and serve Workloads."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.request("POST", definitions, _WORKLOADS)
    api.request("POST", f"{_PATH}/mutatingadmissionpolicies", _POLICY)
    api.request("POST", f"{_PATH}/mutatingadmissionpolicybindings", _BINDING)


def workload_of(job: Object) -> Object:
    """Return the Workload that Kueue makes of a batch/v1 Job."""
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {
            "name": f"job-{name}-{uid[:5]}",
            "labels": {"kueue.x-k8s.io/job-uid": uid},
            "ownerReferences": [owner],
        },
        "spec": {"active": True, "queueName": job["metadata"].get("labels", {}).get(LABEL, "")},
    }


def without_quota(reason: str, message: str) -> Object:
    """Return the status of a Workload that has no quota."""
    return {"conditions": [condition("QuotaReserved", "False", reason, message)]}


def condition(type: str, status: str, reason: str, message: str) -> Object:
    """Return a condition of a Workload."""
    words = {"type": type, "status": status, "reason": reason, "message": message}
    return {**words, "lastTransitionTime": "2026-01-01T12:00:00Z", "observedGeneration": 1}


async def admits_takes_back_and_admits(namespace: Namespace) -> None:
    """Let the Job run, take its resources back while it trains, and let it run again."""
    await _holds(namespace)
    await _set(namespace, suspend=False)
    await namespace.until("a running pod", lambda: [p for p in namespace.pods if _runs(p)])
    await _set(namespace, suspend=True)
    await namespace.until(
        "Queued",
        lambda: (
            all(map(is_ended, namespace.pods)) and namespace.last_status.get("phase") == "Queued"
        ),
    )
    await _set(namespace, suspend=False)


async def is_suspended_by_its_user_while_it_waits(namespace: Namespace) -> None:
    """The user suspends a job that the queue holds, and resumes it; the queue then admits it."""
    await _is_queued(namespace)
    await users.change(namespace, {"suspend": True})
    await namespace.until(
        "Suspended",
        lambda: namespace.last_status.get("phase") == "Suspended" and not _jobs(namespace),
    )
    await users.change(namespace, {"suspend": False})
    await _set(namespace, suspend=False)


async def _holds(namespace: Namespace) -> None:
    """Say on a Workload why the Job waits."""
    jobs = await namespace.until("a Job", lambda: _jobs(namespace))
    workload = workload_of(jobs[-1])
    name = workload["metadata"]["name"]
    await namespace.request("POST", "workloads", body=workload)
    status = without_quota("Pending", "couldn't assign flavors to pod set main")
    body = {"status": status}
    await namespace.request("PATCH", "workloads", name, "status", body=body, kind=MERGE)


async def _is_queued(namespace: Namespace) -> None:
    await namespace.until("Queued", lambda: namespace.last_status.get("phase") == "Queued")


async def _set(namespace: Namespace, *, suspend: bool) -> None:
    """Suspend or admit the newest Job."""
    jobs = await namespace.until("a Job", lambda: _jobs(namespace))
    body = {"spec": {"suspend": suspend}}
    await namespace.request("PATCH", "jobs", jobs[-1]["metadata"]["name"], body=body, kind=MERGE)


def _jobs(namespace: Namespace) -> list[Object]:
    jobs = namespace.objects["jobs"].values()
    return [job for job in jobs if "deletionTimestamp" not in job["metadata"]]


def _runs(pod: Object) -> bool:
    return bool(pod["status"].get("phase") == "Running")
