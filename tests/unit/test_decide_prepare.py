"""Preparing the data set in Jobs of its own: before any GPU, with retries counted apart."""

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.types import (
    AttemptRecord,
    CurrentAttempt,
    FineTuneJob,
    Preparation,
    Status,
)
from finetune_operator.decide import decide
from finetune_operator.policy.plan import Attempt, CreateAttempt, DeleteAttempt, Observed, Plan
from finetune_operator.settings import Settings

from tests.support.builders import (
    NOW,
    UID,
    error_message,
    later,
    make_attempt,
    make_ended_pod,
    make_job,
    make_pod,
    make_progress,
    make_status,
    result_message,
)

GPU: dict[str, Any] = {"workspace": {"claimName": "work"}, "trainer": {"gpusPerNode": 1}}
FIRST, TRAIN = CreateAttempt(1, prepare=True), CreateAttempt(1)
DATASET = {
    "classes": 10,
    "trainImages": 215,
    "validationImages": 53,
    "rejectedImages": 0,
    "digest": "d",
}


def plan_of(job: FineTuneJob, *attempts: Attempt, at: float = 0, **seen: Any) -> Plan:
    defaults = Settings(trainer_gpu_image="trainer:gpu", trainer_image="trainer:cpu")
    return decide(Observed(job=job, attempts=attempts, **seen), later(at), defaults)


def written(plan: Plan, **spec: Any) -> FineTuneJob:
    return make_job(plan.status, **{**GPU, **spec})


def prepared(number: int = 1, *, message: str | None = None) -> Attempt:
    ids = {"uid": UID, "attempt": number, "podUid": "pod-1"}
    text = json.dumps({"job": ids, "prepared": DATASET}) if message is None else message
    return ended(number, 0, text)


def ended(number: int, code: int, message: str = "") -> Attempt:
    pod = make_ended_pod(code, message, owner=f"attempt-{number}-prepare")
    return make_attempt(number, pod, prepare=True, ended="Failed" if code else "Complete")


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "to be adopted"])
def test_job_that_an_earlier_version_named_otherwise_is_followed_to_its_end(recorded: bool) -> None:
    attempt = prepared()
    metadata = msgspec.structs.replace(attempt.job.metadata, name="photos-prepare-1")
    job = msgspec.structs.replace(attempt.job, metadata=metadata)
    running = dataclasses.replace(attempt, job=job)
    current = CurrentAttempt(number=1, prepare=True, job_name="photos-prepare-1")
    status = make_status(
        preparation=Preparation(image="cpu", attempts=int(recorded)),
        current_attempt=current if recorded else None,
    )
    plan = plan_of(make_job(status, **GPU), running)
    assert plan.status.preparation
    assert plan.status.preparation.attempts == 1
    assert plan.status.preparation.completion_time
    assert TRAIN in plan.actions


@pytest.mark.parametrize(
    ("spec", "separate"),
    [
        (GPU, True),
        ({**GPU, "trainer": {"gpusPerNode": 0}}, False),
        ({"trainer": {"gpusPerNode": 1}}, False),
        ({**GPU, "trainer": {"gpusPerNode": 0}, "prepare": "Separate"}, True),
        ({**GPU, "prepare": "Inline"}, False),
    ],
)
def test_auto_prepares_apart_where_gpus_would_wait_and_a_workspace_keeps_the_data(
    spec: dict[str, Any], separate: bool
) -> None:
    wish = {"prepare": spec["prepare"]} if "prepare" in spec else {}
    fields = {key: value for key, value in spec.items() if key != "prepare"}
    job = make_job(dataset={"source": {"uri": "pvc://photos"}, **wish}, **fields)
    assert plan_of(job).actions == ((FIRST,) if separate else (TRAIN,))


def test_images_of_both_kinds_are_resolved_once() -> None:
    status = plan_of(make_job(**GPU)).status
    assert (status.image, status.preparation) == (
        "trainer:gpu",
        Preparation(image="trainer:cpu", attempts=1),
    )
    own = plan_of(make_job(**{**GPU, "trainer": {"image": "mine:1"}})).status
    assert own.preparation
    assert (own.image, own.preparation.image) == ("mine:1", "mine:1")


def test_training_starts_when_the_data_set_is_ready() -> None:
    started = plan_of(make_job(**GPU))
    plan = plan_of(written(started), prepared(), at=30)
    assert plan.actions == (TRAIN,)
    status = plan.status
    assert status.preparation
    assert status.preparation.completion_time == later(30)
    assert status.dataset
    assert status.dataset.train_images == 215
    ready = status.condition("DatasetReady")
    assert ready
    assert (ready.status, ready.reason) == ("True", "Prepared")
    assert (status.attempts, status.failures, status.disruptions) == (1, 0, 0)
    assert [(r.prepare, r.number, r.reason) for r in status.history] == [(True, 1, "Prepared")]
    assert status.current_attempt
    assert status.current_attempt.job_name == "photos-1"


def test_data_set_is_ready_though_the_pods_word_of_it_was_lost() -> None:
    started = plan_of(make_job(**GPU))
    deleted = make_attempt(1, prepare=True, ended="Complete")
    for attempt in (deleted, prepared(message="")):
        assert plan_of(written(started), attempt).actions == (TRAIN,)


def test_failures_of_preparing_are_counted_apart() -> None:
    started = plan_of(make_job(**GPU))
    failed = plan_of(written(started), ended(1, 75))
    assert failed.actions == ()
    assert failed.status.preparation
    assert failed.status.preparation.failures == 1
    assert failed.status.failures == 0
    again = plan_of(written(failed), ended(1, 75), at=10)
    assert again.actions == (CreateAttempt(2, prepare=True),)


def test_failures_of_preparing_end_the_job_at_the_same_limit() -> None:
    started = plan_of(make_job(**GPU))
    plan = plan_of(written(started, backoffLimit=0), ended(1, 75))
    failed = plan.status.condition("Failed")
    assert failed
    assert failed.reason == c.BACKOFF_LIMIT_EXCEEDED
    assert plan.actions == ()


def test_data_that_cannot_be_used_ends_the_job_before_it_asks_for_a_gpu() -> None:
    started = plan_of(make_job(**GPU))
    message = error_message("InvalidData", "Only one class.", pod_uid="pod-1")
    plan = plan_of(written(started), ended(1, 65, message))
    assert (plan.status.phase, plan.status.failure and plan.status.failure.reason) == (
        "Failed",
        "InvalidData",
    )
    assert plan.status.attempts == 0


def test_prepare_job_that_was_created_but_not_written_is_adopted() -> None:
    live = make_attempt(1, make_pod(owner="attempt-1-prepare"), prepare=True)
    status = plan_of(make_job(**GPU), live, progress=make_progress("prepare")).status
    assert status.current_attempt
    assert (status.current_attempt.job_name, status.current_attempt.prepare) == (
        "photos-1-prepare",
        True,
    )
    assert (status.phase, status.attempts) == ("Preparing", 0)


def test_last_prepare_job_stays_for_its_log_until_a_second_training_attempt() -> None:
    started = plan_of(written(plan_of(make_job(**GPU))), prepared())
    live = make_attempt(1, make_pod())
    assert plan_of(written(started), prepared(), live).actions == ()
    crashed = make_attempt(1, make_ended_pod(139), ended="Failed")
    failed = plan_of(written(started), prepared(), crashed)
    plan = plan_of(written(failed), prepared(), crashed, at=10)
    assert [type(action).__name__ for action in plan.actions] == ["DeleteAttempt", "CreateAttempt"]


def test_job_that_a_killed_operator_had_no_time_to_delete_goes_when_all_has_ended() -> None:
    failed, ready = ended(1, 75), prepared(2)
    job = written(plan_of(make_job(**GPU)))
    job = written(plan_of(job, failed))
    job = written(plan_of(job, failed, at=10))
    job = written(plan_of(job, failed, ready, at=20))  # and photos-1-prepare was to be deleted
    trained = make_attempt(1, make_ended_pod(0, result_message()), ended="Complete")
    done = plan_of(job, failed, ready, trained, at=30)
    assert done.status.phase == "Complete"
    old = DeleteAttempt("photos-1-prepare", failed.job.metadata.uid)
    assert done.actions == (old,)
    assert plan_of(written(done), failed, ready, trained, at=40).actions == (old,)
    assert plan_of(written(done), ready, trained, at=50).actions == ()


def test_suspended_preparation_goes_on_preparing() -> None:
    started = plan_of(make_job(**GPU))
    suspended = plan_of(written(started, suspend=True))
    assert [r.reason for r in suspended.status.history] == [c.SUSPENDED]
    plan = plan_of(written(suspended))
    assert plan.actions == (CreateAttempt(2, prepare=True),)


def test_job_of_an_older_operator_goes_on_without_preparing() -> None:
    record = AttemptRecord(number=1, reason=c.DISRUPTED, end_time=NOW)
    old = Status(start_time=NOW, image="trainer:gpu", attempts=1, history=(record,))
    assert plan_of(make_job(old, **GPU)).actions == (CreateAttempt(2),)


def test_result_of_training_after_preparing_completes_the_job() -> None:
    started = plan_of(written(plan_of(make_job(**GPU))), prepared())
    pod = make_ended_pod(0, result_message(pod_uid="pod-1"))
    plan = plan_of(written(started), prepared(), make_attempt(1, pod, ended="Complete"))
    assert (plan.status.phase, plan.status.accuracy) == ("Complete", "0.8704")
