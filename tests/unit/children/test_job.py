"""Fields to pod: the table of the API's documentation, row by row."""

import json
from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.types import FineTuneJob
from finetune_operator.children.container import encode_job
from finetune_operator.children.job import build_claim, build_job, build_service
from finetune_operator.policy.plan import CreateAttempt

from tests.support.builders import UID, make_job


def build(job: FineTuneJob, *, own_image: bool = True) -> dict[str, Any]:
    return build_job(
        job, CreateAttempt(1), image="trainer:1", own_image=own_image, pull="IfNotPresent"
    )


def pod_of(job: FineTuneJob, *, own_image: bool = True) -> dict[str, Any]:
    pod: dict[str, Any] = build(job, own_image=own_image)["spec"]["template"]["spec"]
    return pod


def container_of(job: FineTuneJob) -> dict[str, Any]:
    (container,) = pod_of(job)["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(job: FineTuneJob) -> dict[str, Any]:
    return {each["name"]: each for each in container_of(job)["env"]}


def expanded(text: str, variables: dict[str, str]) -> str:
    """What the kubelet makes of a value: $(X) is replaced, $$ is one dollar."""
    result, rest = "", text
    while rest:
        if rest.startswith("$$"):
            result, rest = result + "$", rest[2:]
        elif rest.startswith("$(") and (name := rest[2:].split(")")[0]) in variables:
            result, rest = result + variables[name], rest[len(name) + 3 :]
        else:
            result, rest = result + rest[0], rest[1:]
    return result


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

    def test_job_controller_never_retries_and_keeps_the_cause(self) -> None:
        spec = build(make_job())["spec"]
        assert spec["backoffLimit"] == 0
        assert spec["podReplacementPolicy"] == "Failed"
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        assert {rule["action"] for rule in spec["podFailurePolicy"]["rules"]} == {"FailJob"}

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

    def test_termination_message_falls_back_to_the_log(self) -> None:
        assert container_of(make_job())["terminationMessagePolicy"] == "FallbackToLogsOnError"


class TestGpus:
    def test_two_gpus_are_asked_for_with_affinity_and_toleration(self) -> None:
        job = make_job(trainer={"gpusPerNode": 2})
        assert container_of(job)["resources"]["limits"] == {"nvidia.com/gpu": 2}
        assert environment_of(job)["FINETUNE_GPUS"]["value"] == "2"
        pod = pod_of(job)
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
        (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        (expression,) = term["matchExpressions"]
        assert expression["key"] == "nvidia.com/gpu.compute.major"
        assert expression["operator"] == "NotIn"
        assert expression["values"] == ["9", "10", "12"]

    def test_each_of_the_users_terms_avoids_gpus_without_code(self) -> None:
        zones = [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
            for zone in "ab"
        ]
        trainer = {"gpusPerNode": 1, "nodeAffinity": required(*zones)}
        found = terms_of(pod_of(make_job(trainer=trainer)))
        assert [term["matchExpressions"][0]["values"] for term in found] == [["a"], ["b"]]
        last = [term["matchExpressions"][-1]["key"] for term in found]
        assert last == ["nvidia.com/gpu.compute.major"] * 2
        assert [len(term["matchExpressions"]) for term in found] == [2, 2]

    @pytest.mark.parametrize(("gpus", "own_image"), [(0, True), (1, False)])
    def test_users_terms_alone_where_every_node_will_do(self, gpus: int, own_image: bool) -> None:
        term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
        trainer = {"gpusPerNode": gpus, "nodeAffinity": required(term)}
        found = terms_of(pod_of(make_job(trainer=trainer), own_image=own_image))
        assert found == [term]

    def test_without_gpus_nothing_of_this_is_there(self) -> None:
        job = make_job(trainer={"gpusPerNode": 0})
        assert "limits" not in container_of(job)["resources"]
        assert not {"affinity", "tolerations"} & pod_of(job).keys()
        assert environment_of(job)["FINETUNE_GPUS"]["value"] == "0"

    def test_image_of_the_users_own_goes_anywhere(self) -> None:
        pod = pod_of(make_job(trainer={"gpusPerNode": 1}), own_image=False)
        assert not {"affinity", "nodeSelector"} & pod.keys()

    def test_other_gpu_resource_and_other_limits_are_kept(self) -> None:
        trainer = {
            "gpusPerNode": 1,
            "gpuResourceName": "amd.com/gpu",
            "resources": {"limits": {"memory": "8Gi"}, "requests": {"cpu": 4}},
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        }
        job = make_job(trainer=trainer)
        assert container_of(job)["resources"] == {
            "limits": {"memory": "8Gi", "amd.com/gpu": 1},
            "requests": {"cpu": 4},
        }
        assert [each["key"] for each in pod_of(job)["tolerations"]] == ["dedicated", "amd.com/gpu"]
        assert job.spec.trainer.resources.limits == {"memory": "8Gi"}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"requiredDuringSchedulingIgnoredDuringExecution": selector}


def terms_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms: list[dict[str, Any]] = json.loads(json.dumps(required["nodeSelectorTerms"]))
    return terms


class TestEnvironment:
    def test_users_variables_come_last_and_as_they_are(self) -> None:
        variables = [
            {"name": "HTTPS_PROXY", "value": "http://$(HOST):3128"},
            {"name": "EMPTY", "value": ""},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        ]
        found = container_of(make_job(trainer={"env": variables}))["env"]
        assert found[-4:] == variables
        assert {each["name"] for each in found[:-4]} == {
            "POD_UID",
            "FINETUNE_JOB",
            "FINETUNE_GPUS",
            "FINETUNE_STALL_SECONDS",
        }

    def test_trainers_own_watchdog_has_the_stall_deadline(self) -> None:
        assert environment_of(make_job())["FINETUNE_STALL_SECONDS"]["value"] == "900"
        found = environment_of(make_job(stallDeadlineSeconds=60))["FINETUNE_STALL_SECONDS"]
        assert found["value"] == "60"


class TestWorkspace:
    def test_claim_is_created_with_what_is_asked(self) -> None:
        workspace = {
            "size": "20Gi",
            "storageClassName": "fast",
            "accessModes": ["ReadWriteMany"],
        }
        claim = build_claim(make_job(workspace=workspace))
        assert claim
        assert claim["spec"] == {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "20Gi"}},
            "storageClassName": "fast",
        }
        plain = build_claim(make_job(workspace={"size": 1}))
        assert plain
        assert plain["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert "storageClassName" not in plain["spec"]

    def test_claim_goes_with_the_job_only_if_it_is_to_be_deleted(self) -> None:
        retained = build_claim(make_job(workspace={"size": "1Gi"}))
        deleted = build_claim(make_job(workspace={"size": "1Gi", "reclaimPolicy": "Delete"}))
        assert retained
        assert deleted
        assert "ownerReferences" not in retained["metadata"]
        assert retained["metadata"]["labels"][c.LABEL_JOB] == "photos"
        (owner,) = deleted["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == ("job-uid", True)

    def test_existing_claim_or_none_is_not_created(self) -> None:
        assert build_claim(make_job(workspace={"claimName": "mine"})) is None
        assert build_claim(make_job()) is None

    def test_pod_mounts_the_claim_that_is_created(self) -> None:
        (volume,) = (
            v
            for v in pod_of(make_job(workspace={"size": "1Gi"}))["volumes"]
            if v["name"] == "workspace"
        )
        assert volume["persistentVolumeClaim"] == {"claimName": "photos-workspace"}


class TestContract:
    def test_trainer_gets_its_part_of_the_spec_and_the_ids(self) -> None:
        job = make_job(training={"epochs": 3})
        text = environment_of(job)["FINETUNE_JOB"]["value"]
        body = json.loads(expanded(text, {"POD_UID": "pod-1"}))
        assert body == {
            "name": "photos",
            "namespace": "team",
            "uid": "job-uid",
            "attempt": 1,
            "podUid": "pod-1",
            "model": {"name": "efficientnet-lite0"},
            "dataset": {"source": {"uri": "pvc://photos"}},
            "training": {"epochs": 3},
            "output": {"uri": "pvc://models"},
        }

    def test_pod_uid_is_a_variable_before_the_one_that_uses_it(self) -> None:
        names = [each["name"] for each in container_of(make_job())["env"]]
        assert names.index("POD_UID") < names.index("FINETUNE_JOB")
        reference = environment_of(make_job())["POD_UID"]["valueFrom"]["fieldRef"]
        assert reference == {"fieldPath": "metadata.uid"}

    @pytest.mark.parametrize(
        "text", ["$(POD_UID)", "$$", "a$b", "$(PATH)", '"podUid":""', "\u00e9\\n"]
    )
    def test_users_dollars_and_quotes_arrive_as_they_are(self, text: str) -> None:
        job = make_job(model={"name": text, "podUid": ""}, training={"note": text})
        told = expanded(encode_job(job, number=1), {"POD_UID": "pod-1", "PATH": "/bin"})
        body = json.loads(told)
        assert (body["model"], body["training"]) == ({"name": text, "podUid": ""}, {"note": text})
        assert body["podUid"] == "pod-1"

    def test_absent_output_is_left_out(self) -> None:
        job = make_job(output=None, workspace={"claimName": "w"})
        assert "output" not in json.loads(encode_job(job, number=1))


class TestVolumes:
    def test_claims_are_mounted_once_and_written_only_where_output_goes(self) -> None:
        dataset = {
            "source": {"uri": "pvc://photos/2024"},
            "validationSource": {"uri": "pvc://models/validation"},
        }
        job = make_job(dataset=dataset, output={"uri": "pvc://models/out"})
        mounts = {each["mountPath"]: each for each in container_of(job)["volumeMounts"]}
        assert mounts["/claims/photos"]["readOnly"] is True
        assert mounts["/claims/models"]["readOnly"] is False
        names = {each["name"]: each for each in pod_of(job)["volumes"]}
        claims = [
            each["persistentVolumeClaim"]["claimName"]
            for each in names.values()
            if "persistentVolumeClaim" in each
        ]
        assert claims == ["photos", "models"]
        assert {each["name"] for each in mounts.values()} == names.keys()

    def test_uri_that_is_no_claim_mounts_nothing(self) -> None:
        job = make_job(
            dataset={"source": {"uri": "https://example.test/photos.zip"}},
            output={"uri": "s3://models/flowers"},
            workspace={"claimName": "work"},
        )
        claims = [v for v in pod_of(job)["volumes"] if "persistentVolumeClaim" in v]
        assert claims == [{"name": "workspace", "persistentVolumeClaim": {"claimName": "work"}}]

    def test_without_a_workspace_it_is_of_the_pod(self) -> None:
        volumes = {each["name"]: each for each in pod_of(make_job())["volumes"]}
        assert volumes["workspace"] == {"name": "workspace", "emptyDir": {}}

    def test_shared_memory_is_as_large_as_asked(self) -> None:
        job = make_job(trainer={"sharedMemory": "4Gi"})
        volumes = {each["name"]: each for each in pod_of(job)["volumes"]}
        memory = {"medium": "Memory", "sizeLimit": "4Gi"}
        assert volumes["shared-memory"]["emptyDir"] == memory
        mounts = {each["name"]: each["mountPath"] for each in container_of(job)["volumeMounts"]}
        assert mounts["shared-memory"] == "/dev/shm"
        assert mounts["tmp"] == "/tmp"


def test_secrets_become_variables_with_the_prefix_of_their_use() -> None:
    dataset = {
        "source": {"uri": "https://x.test/a.zip", "secretRef": {"name": "keys"}},
        "validationSource": {"uri": "https://x.test/b.zip", "secretRef": {"name": "others"}},
    }
    output = {"uri": "s3://models", "secretRef": {"name": "keys"}}
    assert container_of(make_job(dataset=dataset, output=output))["envFrom"] == [
        {"prefix": "DATASET_", "secretRef": {"name": "keys"}},
        {"prefix": "VALIDATION_", "secretRef": {"name": "others"}},
        {"prefix": "OUTPUT_", "secretRef": {"name": "keys"}},
    ]
    assert "envFrom" not in container_of(make_job())


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


class TestPreparation:
    def test_pod_that_prepares_has_the_place_of_the_training_pod_but_no_gpu(self) -> None:
        trainer = {"gpusPerNode": 2, "nodeSelector": {"zone": "a"}, "numNodes": 2}
        job = make_job(trainer=trainer, workspace={"claimName": "work"})
        built = build_job(
            job, CreateAttempt(1, prepare=True), image="x", own_image=True, pull="Always"
        )
        pod = built["spec"]["template"]["spec"]
        assert built["metadata"]["name"] == "photos-prepare-1"
        assert built["metadata"]["labels"][c.LABEL_ROLE] == "prepare"
        assert "nvidia.com/gpu" not in pod["containers"][0]["resources"].get("limits", {})
        assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64", "zone": "a"}
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
        assert not {"affinity", "subdomain"} & pod.keys()
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

    def test_service_names_pods_before_they_are_ready(self) -> None:
        service = build_service(self.JOB)
        assert service
        spec = service["spec"]
        assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
        assert spec["selector"] == {c.LABEL_JOB_UID: UID}
        assert service["metadata"]["ownerReferences"][0]["uid"] == UID
        assert build_service(make_job()) is None
