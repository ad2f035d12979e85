"""The operator's rights are exactly the verbs it uses.

One test takes the operator through all it ever asks for; the end of the session (conftest) says
whether any other test made it ask for more.
"""

from pathlib import Path

import pytest

from tests.component import audit
from tests.component.audit import Right
from tests.component.release import Release
from tests.component.world import KubeletWorld, result_of
from tests.world import fine_tune_job

# What admission plugins ask of the authorizer themselves, which no audit log tells:
# OwnerReferencesPermissionEnforcement, when a Job blocks the deletion of its FineTuneJob.
CHECKED_BY_ADMISSION: set[Right] = {("finetune-operator.dev", "finetunejobs/finalizers", "update")}


@pytest.mark.timeout(120)
def test_the_chart_gives_each_right_that_is_used_and_no_other(
    world: KubeletWorld, release: Release, audit_log: Path
) -> None:
    take_through_all(world)

    def differences() -> tuple[set[Right], set[Right]]:
        asked = [r for r in audit.requests(audit_log) if r.user == release.user]
        used, given = {request.right for request in asked}, audit.rights(release.rules())
        return given - CHECKED_BY_ADMISSION - used, used - given

    world.wait("all rights to be used", lambda: not differences()[0])
    assert differences() == (set(), set())


def take_through_all(world: KubeletWorld) -> None:
    """Jobs that between them need every right; a new right needs a job here."""
    names = ("ended", "stuck", "late", "deleted", "claims")
    changes: dict[str, dict[str, object]] = {
        "ended": {"ttlSecondsAfterFinished": 1},
        "stuck": {"dataset": {"source": {"uri": "pvc://nowhere"}}},
        "late": {"activeDeadlineSeconds": 2},
        "claims": {"workspace": {"size": "1Gi"}},
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
    world.wait_for_pod(name="deleted")
    world.wait("it in the status", lambda: world.status("deleted").get("currentAttempt"))
    world.kubectl("delete", "job", "deleted-1", "--cascade=orphan")
    world.wait_for_failure("ClaimNotFound", "stuck")
    world.wait_for_phase("Failed", "late")
    world.wait_for_phase("Failed", "claims")
