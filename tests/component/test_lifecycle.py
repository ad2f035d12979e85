"""A FineTuneJob from apply to its end, with the real Job controller between."""

import json
import re
from pathlib import Path

import pytest

from tests.support.kubelet_world import KubeletWorld, error_of, result_of
from tests.support.operator_process import GPU_IMAGE, IMAGE, OperatorProcess
from tests.support.world import condition, fine_tune_job

pytestmark = pytest.mark.timeout(150)


def test_job_completes_with_the_accuracy_in_status_and_columns_and_metrics(
    world: KubeletWorld, shared_operator: OperatorProcess
) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.wait_for_phase("Starting")
    world.run(pod)
    world.exit(pod, 0, result_of(pod, job, "0.8704"))
    status = world.wait_for_phase("Complete")
    assert status["accuracy"] == "0.8704"
    assert status["attempts"] == 1
    assert status["history"][0]["reason"] == "Complete"
    assert status["image"] == IMAGE
    assert condition(status, "Complete")["status"] == "True"
    assert "currentAttempt" not in status
    assert "0.8704" in world.kubectl("get", "ftj", "photos").stdout
    labels = f'{{name="photos",namespace="{world.namespace}"}}'
    page = shared_operator.get("/metrics")
    assert f"finetune_job_accuracy{labels} 0.8704" in page
    assert f'finetune_job_run_seconds_count{{namespace="{world.namespace}"' in page
    assert 'api_requests_total{code="201",resource="jobs",verb="create"}' in page
    assert "finetune_operator_ready 1.0" in page
    ages = re.findall(r'^finetune_operator_watch_age_seconds{resource="(.*)"} (.*)$', page, re.M)
    assert {resource for resource, _ in ages} == {"finetunejobs", "jobs", "pods"}
    assert all(0 <= float(age) < 300 for _, age in ages)
    events = world.wait("an Event", lambda: world.kubectl("events", "--for", "ftj/photos").stdout)
    assert "FineTuneJobComplete" in events


def test_job_deleted_in_the_foreground_is_gone_though_the_node_of_its_pod_is_lost(
    quiet_world: KubeletWorld, operator_kubeconfig: Path
) -> None:
    world = quiet_world
    settings = {"namespaces": world.namespace, "node_lost_seconds": "1"}
    with OperatorProcess(operator_kubeconfig, **settings):
        world.apply(fine_tune_job(trainer={"terminationGracePeriodSeconds": 1}))
        world.run(world.wait_for_pod())  # and nobody will ever say that it has ended
        world.wait_for_phase("Starting")
        world.kubectl("delete", "ftj", "photos", "--cascade=foreground", "--wait=false")
        # The garbage collector learns of a new kind every 30 s.
        world.wait("its pod to go", lambda: not world.pods(), seconds=60)
        world.wait("it to go", lambda: not world.items("finetunejobs"))


def test_job_with_huge_pages_alone_gets_a_pod(world: KubeletWorld) -> None:
    resources = {"limits": {"hugepages-2Mi": "4Mi"}}  # which a Job refuses without cpu or memory
    world.apply(fine_tune_job(trainer={"resources": resources}))
    (pod,) = world.wait("its pod", world.pods)  # no node here has huge pages
    requests = pod["spec"]["containers"][0]["resources"]["requests"]
    assert (requests["hugepages-2Mi"], requests["memory"]) == ("4Mi", "1Gi")


def test_job_with_gpus_asks_for_them_and_avoids_gpus_without_code(world: KubeletWorld) -> None:
    trainer = {"gpusPerNode": 2}
    world.apply(fine_tune_job(trainer=trainer))
    pod = world.wait_for_pod()
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert pod["spec"]["containers"][0]["image"] == GPU_IMAGE
    terms = pod["spec"]["affinity"]["nodeAffinity"]
    assert "nvidia.com/gpu.compute.major" in json.dumps(terms)


def test_job_that_asks_for_more_gpus_than_there_are_says_so(world: KubeletWorld) -> None:
    world.apply(fine_tune_job(trainer={"gpusPerNode": 16}))
    failure = world.wait_for_failure("Unschedulable")
    assert "Insufficient nvidia.com/gpu" in failure["message"]
    assert "gpusPerNode" in failure["hint"]


def test_missing_claim_is_named(world: KubeletWorld) -> None:
    world.apply(fine_tune_job(dataset={"source": {"uri": "pvc://fotos/2024"}}))
    failure = world.wait_for_failure("ClaimNotFound")
    assert "'fotos'" in failure["message"]


def test_image_that_cannot_be_pulled_is_named_and_forgotten_when_it_can(
    world: KubeletWorld,
) -> None:
    world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.wait_in_kubelet(pod, "ImagePullBackOff", 'Back-off pulling image "example.test/x"')
    world.wait_for_failure("ImagePullError")
    world.run(pod)
    world.wait("recovery", lambda: "failure" not in world.status())


def test_user_error_fails_at_once_with_the_trainers_words(world: KubeletWorld) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.exit(pod, 65, error_of(pod, job, "InvalidData", "Only one class: 'cats'.", "Add one."))
    status = world.wait_for_phase("Failed")
    assert status["failure"]["message"] == "Only one class: 'cats'."
    assert status["failure"]["hint"] == "Add one."
    assert condition(status, "Failed")["reason"] == "InvalidData"
    assert status["attempts"] == 1


def test_failures_are_retried_up_to_the_backoff_limit(world: KubeletWorld) -> None:
    world.apply(fine_tune_job(backoffLimit=1))
    for attempt in (1, 2):
        world.exit(world.wait_for_pod(attempt), 70, "Traceback: boom")
    status = world.wait_for_phase("Failed")
    assert condition(status, "Failed")["reason"] == "BackoffLimitExceeded"
    assert (status["attempts"], status["failures"]) == (2, 2)
    assert status["failure"]["logTail"] == ["Traceback: boom"]
    assert len(world.items("jobs")) == 2


def test_deleted_pod_is_followed_by_an_attempt_only_when_it_is_gone(world: KubeletWorld) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    path = f"/api/v1/namespaces/{world.namespace}/pods/{pod['metadata']['name']}"
    world.api.request("DELETE", path)
    with pytest.raises(AssertionError, match="a pod of photos-2"):
        world.wait("a pod of photos-2", lambda: len(world.pods()) > 1, seconds=3)
    world.exit(pod, 143)
    world.take_away(pod)
    second = world.wait_for_pod(2)
    world.exit(second, 0, result_of(second, job))
    status = world.wait_for_phase("Complete")
    assert [record["reason"] for record in status["history"]] == ["Interrupted", "Complete"]


def test_suspended_job_holds_no_pod_and_resumes(world: KubeletWorld) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    world.change("photos", {"suspend": True})
    world.wait("the deletion", lambda: world.pods()[0]["metadata"].get("deletionTimestamp"))
    world.exit(pod, 143)
    world.take_away(pod)
    world.wait("no Job", lambda: not world.items("jobs"))
    status = world.wait_for_phase("Suspended")
    assert world.wait(
        "Suspended", lambda: condition(world.status(), "Suspended").get("status") == "True"
    )
    assert status.get("failures", 0) == 0
    world.change("photos", {"suspend": False})
    second = world.wait_for_pod(2)
    world.exit(second, 0, result_of(second, job))
    assert world.wait_for_phase("Complete")["attempts"] == 2


def test_deleted_job_leaves_nothing(world: KubeletWorld) -> None:
    world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    world.delete()
    # The garbage collector looks for new kinds of owners every 30 s.
    world.wait(
        "the deletion",
        lambda: world.pods()[0]["metadata"].get("deletionTimestamp"),
        seconds=60,
    )
    world.take_away(pod)
    world.wait("nothing left", lambda: not world.items("jobs") and not world.pods(), seconds=60)


def test_deadline_ends_the_job_and_its_pod(world: KubeletWorld) -> None:
    world.apply(fine_tune_job(activeDeadlineSeconds=2))
    world.run(world.wait_for_pod())
    status = world.wait_for_phase("Failed")
    assert condition(status, "Failed")["reason"] == "DeadlineExceeded"
    world.wait("the deletion", lambda: world.pods()[0]["metadata"].get("deletionTimestamp"))


def test_startup_deadline_ends_the_job_with_the_diagnosis(world: KubeletWorld) -> None:
    world.apply(fine_tune_job(startupDeadlineSeconds=2, dataset={"source": {"uri": "pvc://x"}}))
    status = world.wait_for_phase("Failed")
    assert condition(status, "Failed")["reason"] == "StartupDeadlineExceeded"
    assert status["failure"]["reason"] == "ClaimNotFound"
    world.wait("no Job", lambda: not world.items("jobs"))


def test_finished_job_is_deleted_after_its_time_to_live(world: KubeletWorld) -> None:
    job = world.apply(fine_tune_job(ttlSecondsAfterFinished=1))
    pod = world.wait_for_pod()
    world.exit(pod, 0, result_of(pod, job))
    world.wait("no FineTuneJob", lambda: not world.items("finetunejobs"))


def test_name_taken_by_a_stranger_fails_the_job(world: KubeletWorld) -> None:
    template = {
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "x",
                    "image": "x",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "runAsNonRoot": True,
                        "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                }
            ],
        }
    }
    stranger = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "photos-1"},
        "spec": {"suspend": True, "template": template},
    }
    path = f"/apis/batch/v1/namespaces/{world.namespace}/jobs"
    world.api.request("POST", path, stranger)
    world.apply(fine_tune_job())
    status = world.wait_for_phase("Failed")
    assert status["failure"]["reason"] == "NameTaken"
    assert "photos-1" in status["failure"]["message"]


def test_quota_that_forbids_the_pod_is_reported(world: KubeletWorld) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    world.api.request("POST", f"/api/v1/namespaces/{world.namespace}/resourcequotas", quota)
    world.wait(
        "the quota",
        lambda: (
            "exceeded"
            in world.kubectl(
                "run",
                "x",
                "--image=x",
                "--dry-run=server",
                "--overrides",
                '{"spec":{"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},'
                '"containers":[{"name":"x","image":"x","securityContext":{"allowPrivilegeEscalation":false,'
                '"capabilities":{"drop":["ALL"]}}}]}}',
            ).stderr
        ),
    )
    world.apply(fine_tune_job())
    failure = world.wait_for_failure("CreateRefused")
    assert "quota" in failure["message"]
