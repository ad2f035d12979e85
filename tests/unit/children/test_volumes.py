"""The volumes of a pod, and where they are mounted."""

from tests.support.builders import make_job
from tests.support.manifests import container_of, pod_of


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
