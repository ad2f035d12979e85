"""The CRD, as `kubectl explain`, appliers and selectors see it."""

from collections.abc import Iterator
from typing import Any

from finetune_operator.api.kubernetes import Object

from deploy.render.crd import build_crd

Schema = dict[str, Any]
VERSION: Schema = build_crd()["spec"]["versions"][0]
ROOT: Schema = VERSION["schema"]["openAPIV3Schema"]


def fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        yield from fields(field.get("items", {}), f"{path}.{name}")


FIELDS = dict(fields(ROOT))


def test_each_field_has_a_description_of_its_own() -> None:
    undescribed = [path for path, field in FIELDS.items() if not field.get("description")]
    assert undescribed == [".metadata"]  # Kubernetes describes it, and admits no text here
    inherited = " ".join((Object.__doc__ or "").split())
    items = [field["items"] for field in FIELDS.values() if "items" in field]
    described = [each.get("description", "") for each in (*FIELDS.values(), *items)]
    assert not [text for text in described if text and text in inherited]


def test_conditions_have_the_rules_of_kubernetes() -> None:
    conditions = FIELDS[".status.conditions"]
    item = conditions["items"]
    assert conditions["maxItems"] == 32
    assert item["required"] == ["type", "status", "reason", "lastTransitionTime"]
    assert item["properties"]["status"]["enum"] == ["True", "False", "Unknown"]
    assert item["properties"]["reason"]["minLength"] == 1


def test_references_and_selectors_are_atomic() -> None:
    atomic = {path for path, field in FIELDS.items() if field.get("x-kubernetes-map-type")}
    atomic |= {
        path
        for path, field in FIELDS.items()
        if field.get("items", {}).get("x-kubernetes-map-type")
    }
    trainer = ".spec.trainer"
    required = f"{trainer}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    assert atomic >= {
        f"{trainer}.nodeSelector",
        f"{trainer}.preparation.nodeSelector",
        f"{trainer}.imagePullSecrets",
        f"{trainer}.env.valueFrom.secretKeyRef",
        f"{trainer}.env.valueFrom.configMapKeyRef",
        required,
        f"{required}.nodeSelectorTerms",
        ".spec.dataset.source.secretRef",
        ".spec.output.secretRef",
    }
    assert f"{trainer}.podLabels" not in atomic  # as metadata.labels: each applier has its own keys


def test_jobs_can_be_selected_by_their_phase() -> None:
    assert VERSION["selectableFields"] == [{"jsonPath": ".status.phase"}]
    assert FIELDS[".status.phase"]["enum"][0] == "Pending"


def test_columns_are_of_fields_that_exist_and_wide_ones_follow_the_others() -> None:
    columns = VERSION["additionalPrinterColumns"]
    names = [column["name"] for column in columns]
    assert names[:6] == ["Phase", "Accuracy", "Progress", "ETA", "Attempts", "Age"]
    assert names[6:] == [
        *("Reason", "Queue", "Node", "Epoch", "GPUs", "Model", "Classes", "Message"),
    ]
    assert [column["priority"] for column in columns] == [0] * 6 + [1] * 8
    paths = [column["jsonPath"] for column in columns]
    plain = [path for path in paths if not path.startswith(".metadata.") and "?" not in path]
    assert set(plain) <= FIELDS.keys()
