"""What the watches have seen, by the uid of its FineTuneJob."""

from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import ContainerState, Job, Pod, Running
from finetune_operator.observe.cache import Cache

from tests.support.builders import (
    NAMESPACE,
    UID,
    make_attempt,
    make_ended_pod,
    make_job,
    make_kept_pod,
    make_pod,
    make_progress,
    result_message,
    without_owner,
)

KEY = (NAMESPACE, "photos")
RUNS = ContainerState(running=Running())


def versioned(job: Job, version: int, **metadata: Any) -> Job:
    changed = msgspec.structs.replace(job.metadata, resource_version=str(version), **metadata)
    return msgspec.structs.replace(job, metadata=changed)


def job(number: int = 1) -> Job:
    return make_attempt(number).job


SPEC = msgspec.to_builtins(make_job().spec)


def body(version: str = "7", **status: Any) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "photos", "uid": UID, "resourceVersion": version}
    return {"metadata": metadata, "spec": SPEC, "status": status}


def test_attempts_come_by_number_each_with_its_own_pods() -> None:
    cache = Cache()
    for number in (10, 2, 1):
        assert cache.observe_attempt(job(number)) == KEY
        assert cache.observe_pod(make_pod(uid=f"p{number}", owner=f"attempt-{number}")) == KEY
    seen = cache.attempts_of(UID)
    assert [attempt.number for attempt in seen] == [1, 2, 10]
    assert [[pod.metadata.uid for pod in attempt.pods] for attempt in seen] == [
        ["p1"],
        ["p2"],
        ["p10"],
    ]
    assert cache.attempts_of("another") == ()
    assert len(cache) == 6


def test_what_is_deleted_leaves_nothing_behind() -> None:
    cache = Cache()
    pod = make_pod()
    cache.observe_attempt(job())
    cache.observe_pod(pod)
    cache.progress["pod-1"] = make_progress()
    cache.observe_pod(pod, deleted=True)
    cache.observe_attempt(job(), deleted=True)
    cache.observe_attempt(job(), deleted=True)
    assert (len(cache), cache.progress, cache.attempts_of(UID)) == (0, {}, ())


def test_pod_whose_job_is_deleted_is_orphaned_until_it_ends() -> None:
    cache = Cache()
    cache.observe_attempt(job())
    cache.observe_pod(make_pod())
    assert cache.orphaned_pods_of(UID, NAMESPACE) == ()
    cache.observe_attempt(job(), deleted=True)
    assert [pod.metadata.uid for pod in cache.orphaned_pods_of(UID, NAMESPACE)] == ["pod-1"]
    assert list(cache.reporting_pods()) == []
    cache.observe_pod(make_ended_pod(143))
    assert cache.orphaned_pods_of(UID, NAMESPACE) == ()


def test_result_of_a_deleted_pod_is_kept_until_its_fine_tune_job_has_finished() -> None:
    cache = Cache()
    ended = make_ended_pod(0, result_message())
    cache.observe_fine_tune_job(body(phase="Training"), deleted=False)
    cache.observe_pod(ended)
    cache.observe_pod(ended, deleted=True)
    assert cache.ended_pods_of(UID, NAMESPACE) == (ended,)
    assert cache.pods_of(UID, NAMESPACE) == ()
    assert cache.ended_pods_of(UID, "elsewhere") == ()
    # The pods of a finished FineTuneJob are deleted with it.
    another = make_ended_pod(0, uid="pod-2")
    cache.observe_fine_tune_job(body("8", phase="Complete"), deleted=False)
    cache.observe_pod(another, deleted=True)
    assert another not in cache.ended_pods_of(UID, NAMESPACE)


def test_pod_that_was_deleted_before_its_trainer_ended_leaves_no_result() -> None:
    cache = Cache()
    cache.observe_fine_tune_job(body(phase="Training"), deleted=False)
    cache.observe_pod(make_pod(), deleted=True)
    assert cache.ended_pods_of(UID, NAMESPACE) == ()


def test_pod_that_ended_and_whose_job_was_deleted_may_have_left_a_result() -> None:
    cache = Cache()
    ended = make_ended_pod(0, result_message())
    cache.observe_attempt(job())
    cache.observe_pod(ended)
    assert cache.ended_pods_of(UID, NAMESPACE) == ()
    cache.observe_attempt(job(), deleted=True)
    assert cache.ended_pods_of(UID, NAMESPACE) == (ended,)


def test_deleted_pods_whose_results_nobody_took_are_bounded() -> None:
    cache = Cache()
    cache.observe_fine_tune_job(body(phase="Training"), deleted=False)
    for number in range(1010):
        cache.observe_pod(make_ended_pod(0, uid=f"pod-{number}"), deleted=True)
    kept = cache.ended_pods_of(UID, NAMESPACE)
    assert (len(kept), kept[-1].metadata.uid) == (1000, "pod-1009")


@pytest.mark.parametrize(
    ("pod", "polled"),
    [
        (make_pod(pod_ip="10.0.0.1"), True),
        (make_pod("Pending", state=RUNS, pod_ip="10.0.0.1"), True),
        (make_kept_pod(0, pod_ip="10.0.0.1"), False),
        (make_pod("Running", state=ContainerState(), before=RUNS, pod_ip="10.0.0.1"), False),
    ],
    ids=["runs", "a container beside it waits", "only others run on", "not started"],
)
def test_pod_is_polled_while_its_trainer_runs(pod: Pod, polled: bool) -> None:
    cache = Cache()
    cache.observe_attempt(job())
    cache.observe_pod(pod)
    assert [each for each, _ in cache.reporting_pods()] == ([pod] if polled else [])


def test_pod_without_an_owner_is_orphaned() -> None:
    cache = Cache()
    cache.observe_attempt(job())
    pod = make_pod()
    cache.observe_pod(pod)
    metadata = msgspec.structs.replace(pod.metadata, owner_references=())
    cache.observe_pod(msgspec.structs.replace(pod, metadata=metadata))
    assert len(cache.orphaned_pods_of(UID, NAMESPACE)) == 1
    assert cache.attempts_of(UID)[0].pods == ()


def test_label_alone_makes_no_attempt_and_no_orphaned_pod_in_another_namespace() -> None:
    cache = Cache()
    forged = versioned(job(), 1, owner_references=(), uid="forged")
    cache.observe_attempt(forged)
    assert cache.attempts_of(UID) == ()
    pod = make_pod(owner="forged")
    elsewhere = msgspec.structs.replace(pod.metadata, namespace="other")
    cache.observe_pod(msgspec.structs.replace(pod, metadata=elsewhere))
    assert cache.orphaned_pods_of(UID, NAMESPACE) == ()


def test_what_an_earlier_job_of_the_name_left_without_an_owner_is_found() -> None:
    cache = Cache()
    left = without_owner(job(2), uid="earlier")
    pod = without_owner(make_pod(), uid="earlier")
    cache.observe_attempt(left)
    cache.observe_pod(pod)
    cache.observe_pod(without_owner(make_pod(uid="own")))
    children = cache.children_of(make_job().metadata)
    assert children.leftovers == (left, pod)
    assert [each.metadata.uid for each in children.orphaned_pods] == ["own"]
    assert cache.children_of(make_job(name="other").metadata).leftovers == ()
    cache.observe_attempt(left, deleted=True)
    cache.observe_pod(pod, deleted=True)
    assert cache.children_of(make_job().metadata).leftovers == ()


def test_job_that_loses_its_owner_is_no_attempt_any_more() -> None:
    cache = Cache()
    cache.observe_attempt(versioned(job(), 1))
    orphan = without_owner(versioned(job(), 2))
    cache.observe_attempt(orphan)
    children = cache.children_of(make_job().metadata)
    assert (children.attempts, children.leftovers) == ((), (orphan,))


def test_job_without_a_number_is_no_attempt() -> None:
    cache = Cache()
    labels = {**job().metadata.labels, c.LABEL_ATTEMPT: "x"}
    cache.observe_attempt(versioned(job(), 1, labels=labels))
    assert cache.attempts_of(UID) == ()


def test_late_event_does_not_undo_what_a_create_returned() -> None:
    cache = Cache()
    cache.observe_attempt(versioned(job(), 10))
    cache.observe_attempt(versioned(job(), 9, deletion_timestamp=None, name="older"))
    assert cache.attempts_of(UID)[0].job.metadata.name == "photos-1"
    cache.observe_attempt(versioned(job(), 11, name="newer"))
    assert cache.attempts_of(UID)[0].job.metadata.name == "newer"


def test_what_is_held_can_be_told_by_namespace() -> None:
    cache = Cache()
    cache.observe_attempt(make_attempt(1).job)
    cache.observe_pod(make_pod())
    for namespace, count in (("", 1), (NAMESPACE, 1), ("another", 0)):
        assert len(cache.attempts_in(namespace)) == count
        assert len(cache.pods_in(namespace)) == count


def test_pods_that_run_and_have_an_address_are_polled() -> None:
    cache = Cache()
    cache.observe_attempt(job())
    pods = [
        make_pod(uid="a", pod_ip="10.0.0.1"),
        make_pod(uid="b"),
        make_pod("Pending", uid="c", pod_ip="10.0.0.2"),
        make_pod(uid="d", owner="stranger", pod_ip="10.0.0.3"),
    ]
    for pod in pods:
        cache.observe_pod(pod)
    assert [(pod.metadata.uid, uid) for pod, uid in cache.reporting_pods()] == [("a", UID)]


def test_progress_is_forgotten_when_its_pod_ends() -> None:
    cache = Cache()
    cache.progress["pod-1"] = make_progress()
    cache.observe_pod(make_ended_pod(0))
    assert cache.progress == {}


def test_fine_tune_job_is_summed_up_and_forgotten() -> None:
    cache = Cache()
    status: dict[str, Any] = {
        "phase": "Training",
        "attempts": 2,
        "trainerStatus": {"progressPercentage": 40},
    }
    assert cache.observe_fine_tune_job(body(**status), deleted=False) == KEY
    summary = cache.jobs[KEY]
    assert (summary.uid, summary.phase, summary.attempts) == (UID, "Training", 2)
    assert summary.progress == 0.4
    assert cache.observe_fine_tune_job(body(), deleted=True) == KEY
    assert cache.jobs == {}
