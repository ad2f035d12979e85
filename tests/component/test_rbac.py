"""The operator's rights are exactly the verbs it uses.

One test takes the operator through all it ever asks for; the end of the session (conftest) says
whether any other test made it ask for more.
"""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import audit
from tests.support.audit import Right
from tests.support.faults import queue
from tests.support.kubelet_world import KubeletWorld, result_of
from tests.support.operator_process import OperatorProcess
from tests.support.release import Release
from tests.support.world import Object, fine_tune_job

# What admission plugins ask of the authorizer themselves, which no audit log shows:
# OwnerReferencesPermissionEnforcement, when a Job blocks the deletion of its FineTuneJob.
CHECKED_BY_ADMISSION: set[Right] = {("finetune-operator.dev", "finetunejobs/finalizers", "update")}


@pytest.mark.timeout(120)
def test_the_chart_gives_each_right_that_is_used_and_no_other(
    world: KubeletWorld, release: Release, operator_kubeconfig: Path, audit_log: Path
) -> None:
    # Beside the shared operator, for the Lease is that one's: one that is quick to give up a node.
    with OperatorProcess(operator_kubeconfig, namespaces=world.namespace, node_lost_seconds="1"):
        take_through_all(world)

    def differences() -> tuple[set[Right], set[Right]]:
        asked = [r for r in audit.requests(audit_log) if r.user == release.user]
        used, given = {request.right for request in asked}, audit.rights(release.rules())
        return given - CHECKED_BY_ADMISSION - used, used - given

    with suppress(AssertionError):  # the assertion below says more
        world.wait("all rights to be used", lambda: not differences()[0])
    unused, missing = differences()
    assert not unused, "the chart gives what no operator asks for"
    assert not missing, "an operator asks for what the chart does not give"


def take_through_all(world: KubeletWorld) -> None:
    """Jobs that between them need every right; a new right needs a job here."""
    names = ("ended", "stuck", "late", "deleted", "claims", "gang", "lost")
    changes: dict[str, dict[str, object]] = {
        "ended": {"ttlSecondsAfterFinished": 1},
        "stuck": {"dataset": {"source": {"uri": "pvc://nowhere"}}},
        "late": {"activeDeadlineSeconds": 2},
        "claims": {"workspace": {"size": "1Gi"}},
        "gang": {
            "trainer": {"numNodes": 2, "gpusPerNode": 0},
            "workspace": {"claimName": "workspace"},
        },
    }
    stranger = {
        "metadata": {"name": "claims-workspace"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    path = f"/api/v1/namespaces/{world.namespace}/persistentvolumeclaims"
    world.api.request("POST", path, stranger)
    jobs = {name: world.apply(fine_tune_job(name, **changes.get(name, {}))) for name in names}
    pod = world.wait_for_pod(name="ended")
    world.exit(pod, 0, result_of(pod, jobs["ended"]))
    queued = fine_tune_job("queued")
    queued["metadata"]["labels"] = {queue.LABEL: "tema"}
    world.apply(queued)
    world.wait_for_phase("Queued", "queued")
    world.kubectl("label", "finetunejob", "queued", "--overwrite", f"{queue.LABEL}=team")
    world.wait_for_pod(name="deleted")
    world.wait("it in the status", lambda: world.status("deleted").get("currentAttempt"))
    world.kubectl("delete", "job", "deleted-1", "--cascade=orphan")
    world.run(world.wait_for_pod(name="lost"))
    world.kubectl("delete", "pod", "-ljob-name=lost-1", "--grace-period=1", "--wait=false")
    world.wait("both pods of the gang", lambda: len(pods_of(world, "gang-1")) == 2)
    for pod in pods_of(world, "gang-1"):
        world.exit(pod, 75)
    world.wait_for_pod(2, "gang")
    world.wait("the lost pod to go", lambda: not pods_of(world, "lost-1"))
    world.wait_for_failure("ClaimNotFound", "stuck")
    world.wait_for_phase("Failed", "late")
    world.wait_for_phase("Failed", "claims")


def pods_of(world: KubeletWorld, job_name: str) -> list[Object]:
    return [pod for pod in world.pods() if pod["metadata"]["labels"]["job-name"] == job_name]
