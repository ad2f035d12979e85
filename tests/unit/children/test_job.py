"""Fields to pod: the table of the API's documentation, row by row."""

import msgspec
from finetune_operator.api import constants as c
from finetune_operator.children.job import build_job
from finetune_operator.policy.plan import CreateAttempt

from tests.support.builders import make_job
from tests.support.manifests import build, container_of, pod_of


def test_same_job_gives_the_same_manifest() -> None:
    assert build(make_job()) == build(make_job())


class TestJob:
    def test_name_owner_and_labels_tie_it_to_its_attempt(self) -> None:
        job = build_job(make_job(), CreateAttempt(3), image="x", own_image=True, pull="Always")
        assert job["metadata"]["name"] == "photos-3"
        assert job["metadata"]["namespace"] == "team"
        (owner,) = job["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == (c.KIND, "job-uid", True)
        for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
            assert labels[c.LABEL_ATTEMPT] == "3"
            assert labels[c.LABEL_JOB_UID] == "job-uid"
            assert labels[c.LABEL_MANAGED_BY] == c.MANAGER

    def test_job_and_its_pods_are_found_by_a_label_that_only_the_operator_writes(self) -> None:
        job = build_job(make_job(), CreateAttempt(3), image="x", own_image=True, pull="Always")
        assert c.CHILD_SELECTOR.startswith(f"{c.GROUP}/")
        for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
            assert c.CHILD_SELECTOR in labels

    def test_job_controller_never_retries_and_keeps_the_cause(self) -> None:
        spec = build(make_job())["spec"]
        assert spec["backoffLimit"] == 0
        assert spec["podReplacementPolicy"] == "Failed"
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        assert {rule["action"] for rule in spec["podFailurePolicy"]["rules"]} == {"FailJob"}

    def test_policy_that_adds_a_time_to_live_where_there_is_none_finds_one(self) -> None:
        ten_years = 10 * 365 * 86400
        assert build(make_job())["spec"]["ttlSecondsAfterFinished"] > ten_years

    def test_users_labels_and_annotations_are_beside_the_operators(self) -> None:
        trainer = {
            "podLabels": {"team": "vision", c.LABEL_ATTEMPT: "7"},
            "podAnnotations": {"safe-to-evict": "false", "sidecar.istio.io/inject": "true"},
        }
        job = build(make_job(trainer=trainer))
        metadata = job["spec"]["template"]["metadata"]
        assert metadata["labels"] == {"team": "vision", **job["metadata"]["labels"]}
        assert metadata["labels"][c.LABEL_ATTEMPT] == "1"
        assert metadata["annotations"] == {
            "safe-to-evict": "false",
            "sidecar.istio.io/inject": "false",
        }
        assert "team" not in job["metadata"]["labels"]

    def test_istio_stays_out(self) -> None:
        annotations = build(make_job())["spec"]["template"]["metadata"]["annotations"]
        assert annotations["sidecar.istio.io/inject"] == "false"


class TestSecurity:
    def test_pod_keeps_the_restricted_pod_security_standard(self) -> None:
        pod, container = pod_of(make_job()), container_of(make_job())
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all("hostPath" not in volume for volume in pod["volumes"])

    def test_identity_is_one_user_unless_told_otherwise(self) -> None:
        security = pod_of(make_job())["securityContext"]
        ids = [security[key] for key in ("runAsUser", "runAsGroup", "fsGroup")]
        assert ids == [65532, 65532, 65532]
        assert security["fsGroupChangePolicy"] == "OnRootMismatch"
        context = {"runAsUser": 5, "runAsGroup": 6, "fsGroup": 7, "supplementalGroups": [8]}
        security = pod_of(make_job(trainer={"securityContext": context}))["securityContext"]
        assert security.items() >= context.items()

    def test_identity_is_left_to_the_cluster_but_for_what_the_job_names(self) -> None:
        def security(**context: int) -> dict[str, object]:
            job = make_job(trainer={"securityContext": context})
            attempt = CreateAttempt(1)
            built = build_job(job, attempt, image="x", own_image=True, pull="Always", user=0)
            found: dict[str, object] = built["spec"]["template"]["spec"]["securityContext"]
            return found

        assert not {"runAsUser", "runAsGroup", "fsGroup"} & security().keys()
        assert security()["runAsNonRoot"] is True
        assert security(runAsUser=5).items() >= {"runAsUser": 5, "fsGroup": 5}.items()
        assert "runAsUser" not in security(fsGroup=7)
        assert security(fsGroup=7)["fsGroup"] == 7

    def test_termination_message_falls_back_to_the_log(self) -> None:
        assert container_of(make_job())["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_placement_and_pull_fields_are_passed_on() -> None:
    trainer = {
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "ml"},
        "priorityClassName": "low",
        "schedulerName": "other",
        "runtimeClassName": "nvidia",
        "serviceAccountName": "trainer",
        "terminationGracePeriodSeconds": 30,
    }
    job = make_job(trainer=trainer)
    pod = pod_of(job)
    assert container_of(job)["imagePullPolicy"] == "Always"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64", "pool": "ml"}
    for field in (
        "priorityClassName",
        "schedulerName",
        "runtimeClassName",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
    ):
        assert pod[field] == trainer[field]
    plain = pod_of(make_job())
    assert None not in plain.values()
    assert "imagePullSecrets" not in plain


class TestName:
    def test_no_two_jobs_of_any_fine_tune_jobs_share_a_name(self) -> None:
        """FineTuneJobs may be named as if they were an attempt of another."""
        names = ["a", "a-1", "a-prepare", "a-1-prepare", "a-prepare-1", "a-1-prepare-1"]
        built = [
            make_job(name=name).job_name(number, prepare=prepare)
            for name in names
            for number in (1, 11)
            for prepare in (False, True)
        ]
        assert len(set(built)) == len(built)


class TestPreparation:
    def test_pod_that_prepares_is_alone_and_has_no_gpu(self) -> None:
        trainer = {"gpusPerNode": 2, "numNodes": 2}
        job = make_job(trainer=trainer, workspace={"claimName": "work"})
        built = build_job(
            job, CreateAttempt(1, prepare=True), image="x", own_image=True, pull="Always"
        )
        pod = built["spec"]["template"]["spec"]
        assert built["metadata"]["name"] == "photos-1-prepare"
        assert built["metadata"]["labels"][c.LABEL_ROLE] == "prepare"
        assert "nvidia.com/gpu" not in pod["containers"][0]["resources"].get("limits", {})
        assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
        assert not {"affinity", "subdomain", "tolerations"} & pod.keys()
        assert "completionMode" not in built["spec"]
        variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert (variables["FINETUNE_ROLE"], variables["FINETUNE_GPUS"]) == ("prepare", "0")


class TestQueue:
    def test_queue_labels_are_the_jobs_and_no_others_are_copied(self) -> None:
        labels = {
            "kueue.x-k8s.io/queue-name": "team",
            "kueue.x-k8s.io/priority-class": "high",
            "kueue.x-k8s.io/other": "x",
            "mine": "y",
        }
        job = make_job()
        metadata = msgspec.structs.replace(job.metadata, labels=labels)
        built = build(msgspec.structs.replace(job, metadata=metadata))
        queue = {
            k: v for k, v in built["metadata"]["labels"].items() if "kueue" in k or k == "mine"
        }
        assert queue == {
            "kueue.x-k8s.io/queue-name": "team",
            "kueue.x-k8s.io/priority-class": "high",
        }
        assert not [k for k in built["spec"]["template"]["metadata"]["labels"] if "kueue" in k]
        assert "suspend" not in built["spec"]


class TestGang:
    JOB = make_job(trainer={"numNodes": 3}, workspace={"claimName": "work"})

    def test_pods_of_a_gang_are_numbered_and_find_their_leader_by_name(self) -> None:
        built = build(self.JOB)
        spec = built["spec"]
        assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == (
            "Indexed",
            3,
            3,
        )
        assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
        pod = spec["template"]["spec"]
        assert pod["subdomain"] == "photos-gang"
        variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert variables["FINETUNE_NODES"] == "3"
        assert variables["FINETUNE_COORDINATOR"] == "photos-1-0.photos-gang"
