"""A network of one's own, or of an earlier job: its volume and its Secret reach the trainer."""

import json

from finetune_operator.children.container import encode_job

from tests.support.builders import make_job
from tests.support.manifests import container_of


def test_its_claim_is_mounted_to_be_read() -> None:
    job = make_job(model={"source": {"uri": "pvc://networks/resnet-50"}})
    mounts = {each["mountPath"]: each for each in container_of(job)["volumeMounts"]}
    assert mounts["/claims/networks"]["readOnly"] is True
    assert json.loads(encode_job(job, number=1))["model"] == job.spec.model


def test_a_claim_that_also_takes_the_output_is_written() -> None:
    job = make_job(model={"source": {"uri": "pvc://m/in"}}, output={"uri": "pvc://m/out"})
    mounts = {each["mountPath"]: each for each in container_of(job)["volumeMounts"]}
    assert mounts["/claims/m"]["readOnly"] is False


def test_its_secret_has_a_prefix_of_its_own() -> None:
    source = {"uri": "https://x.test/resnet.pth", "secretRef": {"name": "hub"}}
    container = container_of(make_job(model={"source": source}))
    assert {"prefix": "MODEL_", "secretRef": {"name": "hub"}} in container["envFrom"]


def test_an_earlier_model_has_its_volume_and_a_prefix_of_its_own() -> None:
    job = make_job(model={}, training={"resumeFrom": {"uri": "pvc://before/flowers"}})
    mounts = {each["mountPath"]: each for each in container_of(job)["volumeMounts"]}
    assert mounts["/claims/before"]["readOnly"] is True
    source = {"uri": "https://x.test/flowers.tar", "secretRef": {"name": "login"}}
    container = container_of(make_job(model={}, training={"resumeFrom": source}))
    assert {"prefix": "RESUME_", "secretRef": {"name": "login"}} in container["envFrom"]
