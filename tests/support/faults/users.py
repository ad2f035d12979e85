"""What the users of the scenarios do, each when the cluster, not the operator, is ready for it."""

import asyncio

from tests.support.faults.watched_cluster import MERGE, Namespace, Object
from tests.support.world import condition


async def does_nothing(namespace: Namespace) -> None:
    """Only apply the job."""


async def _runs(namespace: Namespace) -> Object:
    """Wait until a trainer runs."""

    def running() -> Object | None:
        return next((p for p in namespace.pods if p["status"].get("phase") == "Running"), None)

    pod: Object = await namespace.until("a running pod", running)
    await asyncio.sleep(0.2)  # the operator has seen it, or not
    return pod


async def _runs_and_is_written_down(namespace: Namespace) -> None:
    """A Job that is deleted before the status names it leaves no trace in the attempts."""
    await _runs(namespace)
    await namespace.until("the attempt in status", lambda: namespace.last_status.get("attempts"))


async def suspends_and_resumes(namespace: Namespace) -> None:
    await _runs(namespace)
    await _suspend_and_resume(namespace)


async def _suspend_and_resume(namespace: Namespace) -> None:
    await change(namespace, {"suspend": True})
    await namespace.until(
        "Suspended", lambda: condition(namespace.last_status, "Suspended").get("status") == "True"
    )
    await change(namespace, {"suspend": False})


async def suspends_at_once(namespace: Namespace) -> None:
    await namespace.until("a Job", lambda: namespace.objects["jobs"])
    await _suspend_and_resume(namespace)


async def deletes(namespace: Namespace) -> None:
    await _runs_and_is_written_down(namespace)
    body = {"propagationPolicy": "Background"}
    await namespace.request("DELETE", "finetunejobs", "photos", body=body)


async def deletes_the_pod(namespace: Namespace) -> None:
    pod = await _runs(namespace)
    await namespace.request("DELETE", "pods", pod["metadata"]["name"])


async def deletes_the_pod_of_a_lost_node(namespace: Namespace) -> None:
    """As the taint manager does; no kubelet hears of it."""
    await _runs_and_is_written_down(namespace)
    await namespace.request("DELETE", "pods", namespace.pods[0]["metadata"]["name"])


async def deletes_the_attempt(namespace: Namespace) -> None:
    await _runs_and_is_written_down(namespace)
    body = {"propagationPolicy": "Foreground"}
    await namespace.request("DELETE", "jobs", "photos-1", body=body)


async def orphans_the_pod(namespace: Namespace) -> None:
    await _runs_and_is_written_down(namespace)
    await namespace.request("DELETE", "jobs", "photos-1", body={"propagationPolicy": "Orphan"})


async def change(namespace: Namespace, spec: Object) -> None:
    """Merge into the spec of the FineTuneJob."""
    await namespace.request("PATCH", "finetunejobs", "photos", body={"spec": spec}, kind=MERGE)
