"""The claim that the operator creates, with the rights of its role and real garbage collection."""

import pytest

from tests.cluster.client import ApiError
from tests.support.kubelet_world import KubeletWorld
from tests.support.world import Object, fine_tune_job

pytestmark = pytest.mark.timeout(90)


def claim(world: KubeletWorld, job: str) -> Object:
    path = f"/api/v1/namespaces/{world.namespace}/persistentvolumeclaims/{job}-workspace"
    found: Object = world.api.get(path)
    return found


def is_gone(world: KubeletWorld, job: str) -> bool:
    try:
        return "deletionTimestamp" in claim(world, job)["metadata"]
    except ApiError as error:
        return error.code == 404


def attempt_of(world: KubeletWorld, job: Object) -> Object | None:
    uid = job["metadata"]["uid"]
    owned = [j for j in world.items("jobs") if j["metadata"]["ownerReferences"][0]["uid"] == uid]
    return owned[0] if owned else None


def test_deleted_claim_goes_with_its_job_and_a_retained_one_is_used_by_the_next_of_the_name(
    world: KubeletWorld,
) -> None:
    kept = fine_tune_job("kept", workspace={"size": "1Gi"})
    dropped = fine_tune_job("dropped", workspace={"size": "2Gi", "reclaimPolicy": "Delete"})
    for job in (kept, dropped):
        world.apply(job)
    first = world.wait("a claim", lambda: claim(world, "kept"))
    assert first["spec"]["resources"]["requests"]["storage"] == "1Gi"
    world.wait("a claim", lambda: claim(world, "dropped"))
    world.delete("kept")
    world.delete("dropped")
    # The garbage collector hears of a new CRD within half a minute.
    world.wait("the claim to go", lambda: is_gone(world, "dropped"), seconds=45)
    again = world.apply(kept)
    attempt = world.wait("the next Job", lambda: attempt_of(world, again), seconds=45)
    volumes = attempt["spec"]["template"]["spec"]["volumes"]
    used = [v["persistentVolumeClaim"]["claimName"] for v in volumes if v["name"] == "workspace"]
    assert used == ["kept-workspace"]
    assert claim(world, "kept")["metadata"]["uid"] == first["metadata"]["uid"]


def test_claim_of_someone_else_fails_the_job_with_the_remedy(world: KubeletWorld) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "photos-workspace"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    path = f"/api/v1/namespaces/{world.namespace}/persistentvolumeclaims"
    world.api.request("POST", path, body)
    world.apply(fine_tune_job(workspace={"size": "1Gi"}))
    status = world.wait_for_phase("Failed")
    assert status["failure"]["reason"] == "NameTaken"
    assert "workspace.claimName" in status["failure"]["hint"]
    assert world.items("jobs") == []
