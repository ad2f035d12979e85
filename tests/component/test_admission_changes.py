"""What may change in a job that is there, and that applying the same again changes nothing."""

import copy
import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.client import APPLY
from tests.cluster.controlplane import ControlPlane
from tests.component.conftest import CRD
from tests.component.test_admission import SAMPLES
from tests.support.admission import EVERYTHING, REMOVED, Admission, changed
from tests.support.release import Release
from tests.support.world import FTJS, Object, World, fine_tune_job

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
IMMUTABLE = "cannot be changed: delete the FineTuneJob, or apply another name"
BARE = changed(fine_tune_job("bare", suspend=True), {"spec.trainer": REMOVED})
HOMELY = changed(BARE, {"metadata.name": "homely", "spec.workspace.claimName": "w"})
HOMELY = changed(HOMELY, {"spec.output": REMOVED})
# What the section is where there was none, and a change in it that is right by itself.
SECTIONS: list[tuple[str, Any, Object]] = [
    ("model", None, {"spec.model.name": "another"}),
    ("dataset", None, {"spec.dataset.split": {"trainPerClass": 60}}),
    ("training", {"epochs": 3}, {"spec.training.epochs": 4}),
    ("output", {"uri": "pvc://models"}, {"spec.output.uri": "pvc://other"}),
    ("trainer", {"gpusPerNode": 0}, {"spec.trainer.env[0].value": "other"}),
    ("workspace", {"claimName": "w"}, {"spec.workspace.reclaimPolicy": "Retain"}),
]


@pytest.fixture(scope="module")
def stored(plane: ControlPlane, release: Release) -> Iterator[World]:
    """A namespace with stored jobs: one with every field and two with few."""
    namespace = f"stored-{uuid.uuid4().hex[:6]}"
    plane.add_namespace(namespace)
    world = World(plane.api, kubeconfig=plane.kubeconfig, namespace=namespace)
    for job in (EVERYTHING, BARE, HOMELY):
        world.apply(job)
    yield world
    for job in world.items("finetunejobs"):
        world.delete(job["metadata"]["name"])


@pytest.fixture
def ask(stored: World) -> Admission:
    return Admission(stored.api, stored.namespace)


@pytest.mark.parametrize(
    ("section", "changes"), [pytest.param(s[0], s[2], id=s[0]) for s in SECTIONS]
)
def test_changed_section_is_refused(ask: Admission, section: str, changes: Object) -> None:
    blocked = ask.refusal_of_change(changed(EVERYTHING, changes))
    assert f"spec.{section}: " in blocked
    assert f"{section} {IMMUTABLE}" in blocked


@pytest.mark.parametrize(
    ("section", "value"), [pytest.param(*s[:2], id=s[0]) for s in SECTIONS if s[1]]
)
def test_added_section_is_refused(ask: Admission, section: str, value: Object) -> None:
    job = HOMELY if section == "output" else BARE
    blocked = ask.refusal_of_change(changed(job, {f"spec.{section}": value}))
    assert f"{section} {IMMUTABLE}" in blocked


@pytest.mark.parametrize("section", ["model", "training", "trainer", "workspace", "output"])
def test_removed_section_is_refused(ask: Admission, section: str) -> None:
    blocked = ask.refusal_of_change(changed(EVERYTHING, {f"spec.{section}": REMOVED}))
    assert f"{section} {IMMUTABLE}" in blocked


def test_removed_data_set_is_refused(ask: Admission) -> None:
    blocked = ask.refusal_of_change(changed(EVERYTHING, {"spec.dataset": REMOVED}))
    assert "spec.dataset: Required value" in blocked


@pytest.mark.parametrize(
    ("job", "path", "value"),
    [
        pytest.param(EVERYTHING, "spec.trainer.podLabels['example.com/team']", REMOVED, id="label"),
        pytest.param(EVERYTHING, "spec.trainer.podLabels['example.com/b']", "x", id="new label"),
        pytest.param(EVERYTHING, "spec.training.minAccuracy", REMOVED, id="minAccuracy"),
        pytest.param(EVERYTHING, "spec.dataset.source.secretRef", REMOVED, id="secretRef"),
        pytest.param(BARE, "spec.trainer.nodeSelector", {"a": "b"}, id="new nodeSelector"),
        pytest.param(BARE, "spec.training.minAccuracy", "0.5", id="new minAccuracy"),
        pytest.param(BARE, "spec.dataset.source.uri", "pvc://photos/2025", id="other photos"),
    ],
)
def test_field_in_a_section_is_neither_added_nor_removed_nor_changed(
    ask: Admission, job: Object, path: str, value: object
) -> None:
    assert IMMUTABLE in ask.refusal_of_change(changed(job, {path: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suspend", False),
        ("backoffLimit", 0),
        ("activeDeadlineSeconds", 60),
        pytest.param("activeDeadlineSeconds", REMOVED, id="activeDeadlineSeconds-removed"),
        ("startupDeadlineSeconds", 60),
        ("stallDeadlineSeconds", 3600),
        ("ttlSecondsAfterFinished", 0),
        pytest.param("ttlSecondsAfterFinished", REMOVED, id="ttlSecondsAfterFinished-removed"),
    ],
)
def test_how_long_and_how_often_may_change(ask: Admission, field: str, value: object) -> None:
    assert ask.refusal_of_change(changed(EVERYTHING, {f"spec.{field}": value})) == ""


def test_variables_in_another_order_are_the_same(ask: Admission) -> None:
    variables = list(reversed(EVERYTHING["spec"]["trainer"]["env"]))
    assert ask.refusal_of_change(changed(EVERYTHING, {"spec.trainer.env": variables})) == ""


def test_defaults_do_not_drift(stored: World) -> None:
    """What is read back is applied without a change: nothing is defaulted in a second step."""
    for name in ("bare", "everything"):
        read = stored.job(name)
        body = {key: read[key] for key in ("apiVersion", "kind", "spec")}
        body["metadata"] = {"name": name}
        stored.kubectl("apply", "-f", "-", text=json.dumps(body))
        again = stored.job(name)
        assert again["spec"] == read["spec"]
        assert again["metadata"]["generation"] == read["metadata"]["generation"]


def test_a_job_is_stored_with_what_was_written_and_the_defaults(stored: World) -> None:
    assert _contains(stored.job("everything")["spec"], EVERYTHING["spec"])
    spec = stored.job("bare")["spec"]
    assert _contains(spec, BARE["spec"])
    assert spec["stallDeadlineSeconds"] == 900
    assert spec["trainer"]["gpusPerNode"] == 1
    assert not {"workspace", "activeDeadlineSeconds", "ttlSecondsAfterFinished"} & spec.keys()


@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_is_unchanged_when_it_is_applied_again(stored: World, sample: Object) -> None:
    job = changed(sample, {"spec.suspend": True})
    first = stored.kubectl("apply", "-f", "-", text=json.dumps(job))
    assert first.returncode == 0, first.stderr
    again = stored.kubectl("apply", "-f", "-", text=json.dumps(job))
    assert "unchanged" in again.stdout
    assert stored.kubectl("diff", "-f", "-", text=json.dumps(job)).stdout == ""


def test_a_job_from_before_the_rules_of_input_sizes_keeps_its_status() -> None:
    """Its photos are too small for its network, and its spec is not validated again."""
    crd = yaml.safe_load(CRD.read_text())
    before = copy.deepcopy(crd)
    spec = before["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    validations = spec["x-kubernetes-validations"]
    later = [v for v in validations if v.get("fieldPath") == ".dataset.image.resizeShort"]
    spec["x-kubernetes-validations"] = [v for v in validations if v not in later]
    small = {"spec.model": {"name": "efficientnet-lite2"}, "spec.dataset.image.resizeShort": 256}
    job = changed(BARE, small)
    assert later
    with ControlPlane(controllers=False) as plane:
        plane.add_namespace("old")
        world = World(plane.api, kubeconfig=plane.kubeconfig, namespace="old")
        plane.api.apply(f"{CRDS}/{crd['metadata']['name']}", before)
        world.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        world.apply(job)
        plane.api.apply(f"{CRDS}/{crd['metadata']['name']}", crd)
        ask = Admission(plane.api, "old")
        world.wait("the rules", lambda: ask.blocked(changed(job, {"metadata.name": "new"})))
        path = f"{FTJS}/namespaces/old/finetunejobs/bare"
        plane.api.merge(f"{path}/status", {"status": {"phase": "Failed"}})
        plane.api.merge(path, {"metadata": {"finalizers": ["example.com/kept"]}})
        stored = world.job("bare")
    assert stored["status"]["phase"] == "Failed"
    assert stored["metadata"]["finalizers"] == ["example.com/kept"]


def test_server_side_apply_of_the_same_is_no_new_version(stored: World) -> None:
    job = changed(EVERYTHING, {"metadata.name": "server-side"})
    path = f"/apis/finetune-operator.dev/v1alpha1/namespaces/{stored.namespace}/finetunejobs"

    def apply() -> Object:
        url = f"{path}/server-side?fieldManager=gitops"
        metadata: Object = stored.api.request("PATCH", url, job, kind=APPLY)["metadata"]
        return metadata

    # An operator of another test may write its status between two of them, but not for ever.
    answers = [apply() for _ in range(4)]
    same = [
        (one["resourceVersion"], one["managedFields"])
        == (two["resourceVersion"], two["managedFields"])
        for one, two in itertools.pairwise(answers)
    ]
    assert any(same)
    assert {answer["generation"] for answer in answers} == {1}


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and _contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(_contains, whole, part))
    return bool(whole == part)


class TestTheCrd:
    def test_every_field_is_explained(self, stored: World) -> None:
        answer = stored.kubectl("explain", "finetunejob.spec", "--recursive")
        explained = {line.split()[0] for line in answer.stdout.splitlines() if line.strip()}
        assert _fields(_spec()) - explained == set()

    def test_every_field_has_a_description(self) -> None:
        assert list(_undescribed(_spec(), "spec")) == []

    def test_it_is_small_enough_for_client_side_apply(self) -> None:
        size = len(json.dumps(yaml.safe_load(CRD.read_text())))
        print(f"CRD: {size} bytes as JSON, {CRD.stat().st_size} as YAML")
        assert size < 200_000


def _spec() -> Object:
    versions = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    spec: Object = versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def _fields(schema: Object) -> set[str]:
    found = set(schema.get("properties", {}))
    for inner in schema.get("properties", {}).values():
        found |= _fields(inner)
    return found | _fields(schema["items"]) if "items" in schema else found


def _undescribed(schema: Object, path: str) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        if not inner.get("description"):
            yield f"{path}.{name}"
        yield from _undescribed(inner, f"{path}.{name}")
    yield from _undescribed(schema["items"], f"{path}[]") if "items" in schema else ()
