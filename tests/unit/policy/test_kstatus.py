"""What Flux, Helm and Argo CD make of a FineTuneJob, by kstatus' rules for kinds it does not know.

https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status/generic.go
"""

from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.types import FineTuneJob, Status
from finetune_operator.decide import decide
from finetune_operator.policy.plan import Attempt, Observed
from finetune_operator.settings import Settings

from deploy.render.crd import build_crd
from tests.support.builders import (
    error_message,
    later,
    make_attempt,
    make_ended_attempt,
    make_job,
    make_pod,
    make_progress,
    make_status,
    make_waiting_pod,
    result_message,
)

LIVE = make_status(attempt=1)


def kstatus(body: dict[str, Any]) -> str:
    """Return the status of an object, as kstatus computes it: its rules in their order."""
    metadata, status = body["metadata"], body.get("status", {})
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    for condition in status.get("conditions", []):
        if (condition["type"], condition["status"]) == ("Reconciling", "True"):
            return "InProgress"
        if (condition["type"], condition["status"]) == ("Stalled", "True"):
            return "Failed"
    ready = [each["status"] for each in status.get("conditions", []) if each["type"] == "Ready"]
    return "InProgress" if ready and ready[0] != "True" else "Current"


def after(job: FineTuneJob, *attempts: Attempt, at: float = 0, **seen: Any) -> FineTuneJob:
    """Return the job with the status that one pass writes."""
    observed = Observed(job=job, attempts=attempts, **seen)
    status = decide(observed, later(at), Settings(trainer_gpu_image="trainer:1")).status
    return msgspec.structs.replace(job, status=status)


def status_of(job: FineTuneJob) -> str:
    return kstatus(msgspec.to_builtins(job))


def condition_of(job: FineTuneJob, type: str) -> tuple[str, str, str]:
    condition = job.status.condition(type)
    return (condition.status, condition.reason, condition.message) if condition else ("", "", "")


RUNNING = make_attempt(1, make_pod())
STUCK = make_attempt(1, make_waiting_pod("ImagePullBackOff", "Back-off pulling image"))
SAVING = make_attempt(1, make_pod(deleting=60), deleting=True)


@pytest.mark.parametrize(
    ("job", "phase", "expected"),
    [
        pytest.param(after(make_job()), "Starting", "InProgress", id="new"),
        pytest.param(
            after(make_job(LIVE), make_attempt(1, suspended=True)),
            "Queued",
            "InProgress",
            id="queued",
        ),
        pytest.param(after(make_job(LIVE), STUCK), "Starting", "InProgress", id="stuck"),
        pytest.param(
            after(make_job(LIVE), RUNNING, progress=make_progress("prepare")),
            "Preparing",
            "InProgress",
            id="preparing",
        ),
        pytest.param(
            after(make_job(LIVE), RUNNING, progress=make_progress()),
            "Training",
            "InProgress",
            id="training",
        ),
        pytest.param(
            after(make_job(LIVE), make_ended_attempt(1, 75)), "Pending", "InProgress", id="retried"
        ),
        pytest.param(
            after(make_job(LIVE, suspend=True), SAVING), "Suspended", "InProgress", id="saving"
        ),
        pytest.param(after(make_job(suspend=True)), "Suspended", "Current", id="suspended"),
        pytest.param(
            after(make_job(LIVE), make_ended_attempt(1, 0, result_message())),
            "Complete",
            "Current",
            id="complete",
        ),
        pytest.param(
            after(make_job(LIVE), make_ended_attempt(1, 65, error_message("InvalidData"))),
            "Failed",
            "Failed",
            id="failed",
        ),
        pytest.param(
            after(make_job(LIVE, startupDeadlineSeconds=60), STUCK, at=60),
            "Failed",
            "Failed",
            id="deadline",
        ),
    ],
)
def test_phase_is_in_progress_current_or_failed_as_that_of_a_batch_job(
    job: FineTuneJob, phase: str, expected: str
) -> None:
    assert (job.status.phase, status_of(job)) == (phase, expected)
    again = after(job)  # and stays so, whatever is left of its Jobs
    assert not job.status.finished or status_of(again) == expected


def test_job_that_no_operator_has_seen_is_in_progress() -> None:
    """The API server fills the default in, as soon as the object is read."""
    schema = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    default = schema["properties"]["status"]["default"]
    job = make_job(msgspec.convert(default, Status))
    assert kstatus({**msgspec.to_builtins(job), "status": default}) == "InProgress"
    assert after(job).status.observed_generation == 1


def test_change_of_the_spec_is_in_progress_until_it_was_observed() -> None:
    job = after(make_job(suspend=True))
    metadata = msgspec.structs.replace(job.metadata, generation=2)
    spec = msgspec.structs.replace(job.spec, suspend=False)
    job = msgspec.structs.replace(job, metadata=metadata, spec=spec)
    assert status_of(job) == "InProgress"
    resumed = after(job)
    assert resumed.status.observed_generation == 2
    assert condition_of(resumed, c.RECONCILING)[:2] == ("True", "Starting")


def test_finished_job_with_a_changed_time_to_live_is_what_it_was() -> None:
    done = after(make_job(LIVE), make_ended_attempt(1, 0, result_message()))
    metadata = msgspec.structs.replace(done.metadata, generation=5)
    changed = msgspec.structs.replace(done, metadata=metadata)
    assert status_of(after(changed)) == "Current"


def test_conditions_say_what_is_waited_for_and_why_the_job_failed() -> None:
    stuck = after(make_job(LIVE), STUCK)
    status, reason, message = condition_of(stuck, c.RECONCILING)
    assert (status, reason) == ("True", c.IMAGE_PULL_ERROR)
    assert "Back-off pulling image" in message
    failed = after(make_job(LIVE), make_ended_attempt(1, 65, error_message("InvalidData")))
    assert condition_of(failed, c.RECONCILING) == ("False", "Failed", "")
    assert condition_of(failed, c.STALLED_CONDITION) == condition_of(failed, c.FAILED)
