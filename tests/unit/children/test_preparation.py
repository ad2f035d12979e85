"""The pods that prepare are the trainer's, without what only GPUs need."""

import json
from typing import Any

from finetune_operator.children.job import build_job
from finetune_operator.policy.plan import CreateAttempt

from tests.support.builders import make_job

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def pod_of(**trainer: Any) -> dict[str, Any]:
    """Return the pod that prepares for a trainer section, as the API server reads it."""
    job = make_job(trainer=trainer, workspace={"claimName": "work"})
    attempt = CreateAttempt(1, prepare=True)
    built = build_job(job, attempt, image="x", own_image=False, pull="Always")
    pod: dict[str, Any] = json.loads(json.dumps(built))["spec"]["template"]["spec"]
    return pod


def resources_of(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["containers"][0]["resources"]
    return found


def term(*keys: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": "Exists"} for key in keys]}


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    return {REQUIRED: {"nodeSelectorTerms": list(terms)}}


class TestDefault:
    def test_no_gpu_node_is_asked_for(self) -> None:
        pod = pod_of(
            gpusPerNode=2,
            nodeSelector={"cloud.google.com/gke-accelerator": "a100", "pool": "gpu"},
            nodeAffinity=affinity(term("nvidia.com/gpu.memory")),
            tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}],
            runtimeClassName="nvidia",
            resources={
                "requests": {"cpu": 4, "memory": "8Gi", "vpc.amazonaws.com/efa": 1},
                "limits": {"example.com/device": "1", "memory": "8Gi"},
            },
        )
        asks = {"nodeSelector", "affinity", "tolerations", "runtimeClassName"}
        assert not asks & pod.keys()
        assert resources_of(pod) == {
            "requests": {"cpu": 4, "memory": "8Gi"},
            "limits": {"memory": "8Gi"},
        }

    def test_volume_is_made_within_reach_of_the_pods_that_train(self) -> None:
        zone, csi = "topology.kubernetes.io/zone", "topology.ebs.csi.aws.com/zone"
        host = "kubernetes.io/hostname"
        pod = pod_of(
            gpusPerNode=1,
            nodeSelector={zone: "a", csi: "a", "node.kubernetes.io/instance-type": "p4d"},
            nodeAffinity=affinity(term(zone, "nvidia.com/gpu.memory"), term(host)),
        )
        assert pod["nodeSelector"] == {zone: "a", csi: "a"}
        assert pod["affinity"]["nodeAffinity"] == affinity(term(zone), term(host))

    def test_alternative_without_a_place_allows_every_node(self) -> None:
        terms = affinity(term("topology.kubernetes.io/zone"), term("nvidia.com/gpu.memory"))
        assert "affinity" not in pod_of(gpusPerNode=1, nodeAffinity=terms)

    def test_taints_of_other_owners_are_tolerated(self) -> None:
        dedicated = {"key": "dedicated", "operator": "Exists"}
        gpus = {"key": "amd.com/gpu", "operator": "Exists"}
        pod = pod_of(gpusPerNode=1, gpuResourceName="amd.com/gpu", tolerations=[dedicated, gpus])
        assert pod["tolerations"] == [dedicated]

    def test_place_of_a_job_without_gpus_is_that_of_its_training(self) -> None:
        terms = affinity(term("disk"))
        pod = pod_of(gpusPerNode=0, nodeSelector={"pool": "cpu"}, nodeAffinity=terms)
        assert pod["nodeSelector"] == {"pool": "cpu"}
        assert pod["affinity"]["nodeAffinity"] == terms


class TestOwnFields:
    OWN: dict[str, Any] = {
        "resources": {"requests": {"cpu": 8}, "limits": {"memory": "2Gi"}},
        "nodeSelector": {"pool": "cpu"},
        "nodeAffinity": affinity(term("disk")),
        "tolerations": [{"key": "cpu", "operator": "Exists"}],
    }

    def test_each_field_is_used_as_it_is(self) -> None:
        trainer = {"resources": {"limits": {"memory": "8Gi"}}, "nodeSelector": {"pool": "gpu"}}
        pod = pod_of(gpusPerNode=2, **trainer, preparation=self.OWN)
        assert resources_of(pod) == self.OWN["resources"]
        assert pod["nodeSelector"] == {"pool": "cpu"}
        assert pod["affinity"]["nodeAffinity"] == self.OWN["nodeAffinity"]
        assert pod["tolerations"] == self.OWN["tolerations"]

    def test_empty_field_is_no_default(self) -> None:
        zone = {"topology.kubernetes.io/zone": "a"}
        empty: dict[str, Any] = {"nodeSelector": {}, "tolerations": []}
        dedicated = [{"key": "dedicated", "operator": "Exists"}]
        pod = pod_of(gpusPerNode=1, nodeSelector=zone, tolerations=dedicated, preparation=empty)
        assert not {"nodeSelector", "tolerations"} & pod.keys()

    def test_pods_that_train_do_not_have_them(self) -> None:
        job = make_job(trainer={"gpusPerNode": 1, "preparation": self.OWN})
        built = build_job(job, CreateAttempt(1), image="x", own_image=False, pull="Always")
        pod = built["spec"]["template"]["spec"]
        assert not {"nodeSelector", "affinity"} & pod.keys()
        assert resources_of(pod)["limits"] == {"nvidia.com/gpu": 1}
