"""The trainer's container: its environment, its Secrets, its part of the spec."""

import json

import pytest
from finetune_operator.children.container import encode_job

from tests.support.builders import make_job
from tests.support.manifests import container_of, environment_of, expanded


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
        value = expanded(encode_job(job, number=1), {"POD_UID": "pod-1", "PATH": "/bin"})
        body = json.loads(value)
        assert (body["model"], body["training"]) == ({"name": text, "podUid": ""}, {"note": text})
        assert body["podUid"] == "pod-1"

    def test_absent_output_is_left_out(self) -> None:
        job = make_job(output=None, workspace={"claimName": "w"})
        assert "output" not in json.loads(encode_job(job, number=1))


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


def test_request_that_cannot_be_overcommitted_is_its_limit_too() -> None:
    asked = {"cpu": "1", "example.com/device": 2, "hugepages-2Mi": "4Mi"}
    resources = {"requests": asked, "limits": {"memory": "1Gi"}}
    built = container_of(make_job(trainer={"gpusPerNode": 0, "resources": resources}))
    assert built["resources"] == {
        "requests": asked,
        "limits": {"example.com/device": 2, "hugepages-2Mi": "4Mi", "memory": "1Gi"},
    }


def test_huge_pages_alone_get_the_memory_that_kubernetes_demands_beside_them() -> None:
    resources = {"requests": {"hugepages-2Mi": "4Mi"}}
    built = container_of(make_job(trainer={"gpusPerNode": 0, "resources": resources}))
    assert built["resources"] == {
        "requests": {"hugepages-2Mi": "4Mi", "memory": "1Gi"},
        "limits": {"hugepages-2Mi": "4Mi"},
    }
