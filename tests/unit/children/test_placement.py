"""GPUs and nodes: affinity, tolerations, resources."""

import json
from typing import Any

import pytest
from finetune_operator.policy.plan import CreateAttempt

from tests.support.builders import make_job
from tests.support.manifests import container_of, environment_of, pod_of


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

    def test_nodes_to_avoid_are_excluded_by_name_in_each_of_the_users_terms(self) -> None:
        zones = [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
            for zone in "ab"
        ]
        trainer = {"gpusPerNode": 0, "nodeAffinity": required(*zones)}
        again = CreateAttempt(3, avoid=("ip-1.internal", "ip-2.internal"))
        found = terms_of(pod_of(make_job(trainer=trainer), attempt=again))
        assert [term["matchExpressions"] for term in found] == [
            t["matchExpressions"] for t in zones
        ]
        names = [other_than("ip-1.internal"), other_than("ip-2.internal")]
        assert [term["matchFields"] for term in found] == [names, names]

    def test_nodes_with_a_fault_are_last_in_preference_and_not_excluded(self) -> None:
        again = CreateAttempt(2, unpreferred=("ip-1.internal",))
        pod = pod_of(make_job(trainer={"gpusPerNode": 0}), attempt=again)
        term = {"weight": 100, "preference": {"matchFields": [other_than("ip-1.internal")]}}
        assert pod["affinity"] == {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}
        }

    @pytest.mark.parametrize("gpus", [0, 1])
    @pytest.mark.parametrize(
        ("resources", "memory"),
        [
            ({}, "1Gi"),
            ({"requests": {"cpu": 4}}, "1Gi"),
            ({"requests": {"memory": "4Gi"}}, "4Gi"),
            ({"limits": {"cpu": 4}}, "1Gi"),
            ({"limits": {"memory": "8Gi"}}, None),  # Kubernetes takes the limit
        ],
    )
    def test_memory_is_requested_by_the_job_or_by_default(
        self, gpus: int, resources: dict[str, Any], memory: str | None
    ) -> None:
        job = make_job(trainer={"gpusPerNode": gpus, "resources": resources})
        assert container_of(job)["resources"].get("requests", {}).get("memory") == memory

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


def other_than(node: str) -> dict[str, Any]:
    return {"key": "metadata.name", "operator": "NotIn", "values": [node]}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"requiredDuringSchedulingIgnoredDuringExecution": selector}


def terms_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms: list[dict[str, Any]] = json.loads(json.dumps(required["nodeSelectorTerms"]))
    return terms
