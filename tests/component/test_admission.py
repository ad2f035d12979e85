"""What the API server refuses, in words that say what to write instead, and what it takes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.component.admission import (
    EVERYTHING,
    OTHERWISE,
    REMOVED,
    VALIDATED,
    Admission,
    changed,
)
from tests.world import Object, fine_tune_job

TRAINER, DATASET, TRAINING = "spec.trainer", "spec.dataset", "spec.training"
ENV, OPTIMIZER = f"{TRAINER}.env[0]", f"{TRAINING}.optimizer"
TERMS = f"{TRAINER}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
EXPRESSION, TOLERATION = f"{TERMS}[0].matchExpressions[0]", f"{TRAINER}.tolerations[0]"
SOURCE = f"{DATASET}.source"

Case = tuple[str, Object, str, str]
BAD: list[Case] = [
    # sentence, changes, the field that is named, the remedy that is told
    ("name begins with a digit", {"metadata.name": "8photos"}, "metadata.name",
     "must start with a letter"),
    ("name has a dot", {"metadata.name": "my.photos"}, "metadata.name",
     "lower-case letters, digits and '-'"),
    ("name has 51 characters", {"metadata.name": "a" * 51}, "metadata.name",
     "at most 50 characters"),
    ("field is misspelt", {"spec.trainer.gpuPerNode": 1}, "gpuPerNode", "unknown field"),
    ("preferred affinity is not known",
     {"spec.trainer.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution": []},
     "preferredDuring", "unknown field"),
    ("model is missing", {"spec.model": REMOVED}, "spec.model", "Required value"),
    ("model has no name", {"spec.model": {}}, "spec.model", "such as efficientnet-lite0"),
    ("model name is a path", {"spec.model.name": "/models/x"}, "spec.model.name", "catalogue"),
    ("dataset is missing", {DATASET: REMOVED}, DATASET, "Required value"),
    ("source is missing", {SOURCE: REMOVED}, SOURCE, "Required value"),
    ("source is a local path", {SOURCE: {"uri": "/photos"}}, SOURCE, "must be pvc://CLAIM/PATH"),
    ("source is a file", {SOURCE: {"uri": "file:///photos"}}, SOURCE,
     "put the files into a claim"),
    ("source is of another cloud", {SOURCE: {"uri": "gs://photos"}}, SOURCE, "or https://"),
    ("source has no claim", {SOURCE: {"uri": "pvc:///photos"}}, SOURCE, "PersistentVolumeClaim"),
    ("claim is in upper case", {SOURCE: {"uri": "pvc://Photos"}}, SOURCE, "must be pvc://CLAIM"),
    ("source climbs out of its claim", {SOURCE: {"uri": "pvc://photos/../other"}},
     f"{SOURCE}.uri", "must not contain '..': name the folder itself"),
    ("source ends in dots", {SOURCE: {"uri": "pvc://photos/.."}}, f"{SOURCE}.uri", "'..'"),
    ("source has a line break", {SOURCE: {"uri": "pvc://photos/a\nb"}}, f"{SOURCE}.uri",
     "remove them"),
    ("source is http without a digest", {SOURCE: {"uri": "http://example.com/a.zip"}}, SOURCE,
     "use https://, or set sha256"),
    ("source has a password in it", {SOURCE: {"uri": "https://u:p@example.com/a.zip"}}, SOURCE,
     "put USERNAME and PASSWORD into a Secret"),
    ("claim is given a secret",
     {SOURCE: {"uri": "pvc://photos", "secretRef": {"name": "keys"}}}, SOURCE,
     "secretRef is for https:// and s3:// only: remove it"),
    ("digest is in upper case", {f"{SOURCE}.sha256": "A" * 64}, f"{SOURCE}.sha256",
     "64 lower-case hex digits"),
    ("secret is no name", {f"{SOURCE}.secretRef.name": "My Secret"}, f"{SOURCE}.secretRef.name",
     "must be the name of a Secret"),
    ("split is by number and by fraction", {f"{DATASET}.split.trainPerClass": 60},
     f"{DATASET}.split", "set trainPerClass or trainFraction, not both"),
    ("split leaves nothing to validate", {f"{DATASET}.split.trainFraction": "1"},
     f"{DATASET}.split", "must be above 0 and below 1"),
    ("split leaves nothing to train", {f"{DATASET}.split.trainFraction": "0.0"},
     f"{DATASET}.split", "must be above 0 and below 1"),
    ("split is in percent", {f"{DATASET}.split.trainFraction": "80"},
     f"{DATASET}.split.trainFraction", 'from 0 to 1 in quotes, such as "0.8"'),
    ("split beside a validation set", {f"{DATASET}.validationSource": {"uri": "pvc://photos/v"}},
     DATASET, "with validationSource nothing is split off"),
    ("layout is not one", {f"{DATASET}.layout": "Folders"}, f"{DATASET}.layout",
     'supported values: "Auto", "Folder", "Split", "Csv", "Lst", "RecordIO"'),
    ("layout with sides is split", {f"{DATASET}.layout": "Split", f"{DATASET}.csv": REMOVED},
     DATASET, "the layout Split has a side that validates: remove"),
    ("list of another layout", {f"{DATASET}.layout": "Folder"}, DATASET,
     "csv is for the layout Csv: remove it"),
    ("list is outside the source", {f"{DATASET}.csv.file": "lists/../../labels.csv"},
     f"{DATASET}.csv.file", "must be a path within the source, such as labels.csv"),
    ("policy for bad images is not one", {f"{DATASET}.badImages.policy": "Ignore"},
     f"{DATASET}.badImages.policy", 'supported values: "Skip", "Fail"'),
    ("bad images are counted in percent", {f"{DATASET}.badImages.maxFraction": "5%"},
     f"{DATASET}.badImages.maxFraction", "from 0 to 1 in quotes"),
    ("recipe is not one", {f"{TRAINING}.recipe": "best"}, f"{TRAINING}.recipe",
     'supported values: "auto"'),
    ("learning rate is zero", {f"{OPTIMIZER}.learningRate": "0.000"},
     f"{OPTIMIZER}.learningRate", 'must be above 0, such as "0.01"'),
    ("learning rate is negative", {f"{OPTIMIZER}.learningRate": "-0.1"},
     f"{OPTIMIZER}.learningRate", 'in quotes, such as "0.01"'),
    ("learning rate has an exponent", {f"{OPTIMIZER}.learningRate": "1e-3"},
     f"{OPTIMIZER}.learningRate", 'in quotes, such as "0.01"'),
    ("momentum is one", {f"{OPTIMIZER}.momentum": "1.0"}, f"{OPTIMIZER}.momentum",
     'must be below 1, such as "0.9"'),
    ("momentum for adam", {f"{OPTIMIZER}.name": "adam"}, OPTIMIZER,
     "momentum is of sgd and nag: remove it"),
    ("optimizer is not one", {f"{OPTIMIZER}.name": "SGD"}, f"{OPTIMIZER}.name",
     'supported values: "sgd"'),
    ("beta for sgd", {f"{OPTIMIZER}.beta1": "0.9"}, OPTIMIZER,
     "beta1 and beta2 are of adam, adamw and lamb: remove them"),
    ("beta is one", {f"{OPTIMIZER}.beta2": "1"}, f"{OPTIMIZER}.beta2",
     'must be below 1, such as "0.9"'),
    ("epsilon for sgd", {f"{OPTIMIZER}.epsilon": "0.1"}, OPTIMIZER, "epsilon is not of sgd"),
    ("steps without the name", {f"{TRAINING}.schedule.name": "cosine"}, f"{TRAINING}.schedule",
     "stepEpochs and the name step belong together"),
    ("the name without steps",
     {f"{TRAINING}.schedule": {"name": "step"}}, f"{TRAINING}.schedule",
     "stepEpochs and the name step belong together"),
    ("factor without steps",
     {f"{TRAINING}.schedule": {"factor": "0.1"}}, f"{TRAINING}.schedule",
     "factor is of the name step"),
    ("augmentation of cached features", {f"{TRAINING}.recipe": "features"}, TRAINING,
     "augmentation is of recipes that train on images"),
    ("hyperparameter of another trainer",
     {f"{TRAINING}.hyperparameters": {"batch_size": "32"}}, f"{TRAINING}.hyperparameters",
     "see docs/training.md"),
    ("smoothing in percent", {f"{TRAINING}.labelSmoothing": "10"},
     f"{TRAINING}.labelSmoothing", "from 0 to 1 in quotes"),
    ("minimum accuracy is in percent", {f"{TRAINING}.minAccuracy": "77"},
     f"{TRAINING}.minAccuracy", "from 0 to 1 in quotes"),
    ("result would be lost", {"spec.output": REMOVED, "spec.workspace": REMOVED}, "spec",
     "set workspace or output.uri: without either the model would be lost"),
    ("output is on the web", {"spec.output.uri": "https://example.com/models"}, "spec.output",
     "must be pvc://CLAIM/PATH with the name of a PersistentVolumeClaim, or s3://BUCKET/PREFIX"),
    ("output is a file", {"spec.output.uri": "file:///models"}, "spec.output",
     "must be pvc://CLAIM/PATH"),
    ("output bucket is in upper case", {"spec.output.uri": "s3://Models/flowers"}, "spec.output",
     "or s3://BUCKET/PREFIX"),
    ("output has no bucket", {"spec.output.uri": "s3:///flowers"}, "spec.output",
     "or s3://BUCKET/PREFIX"),
    ("output has a digest", {"spec.output.sha256": "0" * 64}, "spec.output.sha256",
     "unknown field"),
    ("claim to write is given a secret", {"spec.output.secretRef": {"name": "keys"}},
     "spec.output", "secretRef is for s3:// only: remove it"),
    ("secret of the output is no name",
     {"spec.output": {"uri": "s3://models", "secretRef": {"name": "My Secret"}}},
     "spec.output.secretRef.name", "must be the name of a Secret"),
    ("output climbs out of its claim", {"spec.output.uri": "pvc://models/.."}, "spec.output.uri",
     "must not contain '..'"),
    ("workspace is nothing", {"spec.workspace": {}}, "spec.workspace",
     "set exactly one of claimName (an existing claim) and size (a claim to create)"),
    ("workspace is an existing and a new claim", {"spec.workspace.claimName": "w"},
     "spec.workspace", "set exactly one of claimName"),
    ("existing claim is given a class",
     {"spec.workspace": {"claimName": "w", "storageClassName": "fast"}}, "spec.workspace",
     "set size instead of claimName"),
    ("workspace has no size", {"spec.workspace.size": "0Gi"}, "spec.workspace.size",
     "must be above 0, such as 1Gi"),
    ("workspace size has a space", {"spec.workspace.size": "20 Gi"}, "spec.workspace.size",
     "must be a quantity such as 4, 500m or 8Gi"),
    ("workspace is read only", {"spec.workspace.accessModes": ["ReadOnlyMany"]},
     "spec.workspace.accessModes[0]", 'supported values: "ReadWriteOnce"'),
    ("access mode is named twice",
     {"spec.workspace.accessModes": ["ReadWriteMany", "ReadWriteMany"]},
     "spec.workspace.accessModes[1]", "Duplicate value"),
    ("access modes exclude each other",
     {"spec.workspace.accessModes": ["ReadWriteOncePod", "ReadWriteMany"]},
     "spec.workspace.accessModes", "ReadWriteOncePod excludes the other modes"),
    ("data is prepared apart and handed over nowhere",
     {"spec.dataset.prepare": "Separate", "spec.workspace": REMOVED}, "spec",
     "set workspace, or choose Inline"),
    ("gang shares no workspace", {f"{TRAINER}.numNodes": 2, "spec.workspace": REMOVED}, "spec",
     "the pods of numNodes > 1 share a workspace"),
    ("gang shares a workspace of one node",
     {f"{TRAINER}.numNodes": 2, "spec.workspace.accessModes": REMOVED}, "spec",
     "accessModes [ReadWriteMany]"),
    ("workspace is recycled", {"spec.workspace.reclaimPolicy": "Recycle"},
     "spec.workspace.reclaimPolicy", 'supported values: "Retain", "Delete"'),
    ("backoffLimit is negative", {"spec.backoffLimit": -1}, "spec.backoffLimit",
     "greater than or equal to 0"),
    ("deadline is zero", {"spec.activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds",
     "greater than or equal to 1"),
    ("stall deadline is shorter than a step", {"spec.stallDeadlineSeconds": 59},
     "spec.stallDeadlineSeconds", "greater than or equal to 60"),
    ("image has a space", {f"{TRAINER}.image": "trainer: 1"}, f"{TRAINER}.image",
     "without spaces"),
    ("image is an address", {f"{TRAINER}.image": "https://example.com/trainer"},
     f"{TRAINER}.image", "without https://"),
    ("GPUs are among the limits", {f"{TRAINER}.resources.limits['nvidia.com/gpu']": 1}, TRAINER,
     "GPUs are asked for with trainer.gpusPerNode"),
    ("GPUs are among the requests", {f"{TRAINER}.resources.requests['nvidia.com/gpu']": 1},
     TRAINER, "remove them from trainer.resources"),
    ("GPU resource has no domain", {f"{TRAINER}.gpuResourceName": "gpu"},
     f"{TRAINER}.gpuResourceName", "such as nvidia.com/gpu"),
    ("resource is not one", {f"{TRAINER}.resources.limits.ram": "8Gi"},
     f"{TRAINER}.resources.limits", "each key must be cpu, memory, ephemeral-storage"),
    ("memory is in GB", {f"{TRAINER}.resources.limits.memory": "8GB"},
     f"{TRAINER}.resources.limits[memory]", "such as 4, 500m or 8Gi"),
    ("memory is negative", {f"{TRAINER}.resources.limits.memory": -1},
     f"{TRAINER}.resources.limits.memory", "greater than or equal to 0"),
    ("shared memory is nothing", {f"{TRAINER}.sharedMemory": "0"}, f"{TRAINER}.sharedMemory",
     "must be above 0, such as 1Gi"),
    ("pod is root", {f"{TRAINER}.securityContext.runAsUser": 0},
     f"{TRAINER}.securityContext.runAsUser", "greater than or equal to 1"),
    ("node label is no label", {f"{TRAINER}.nodeSelector": {"a b": "c"}},
     f"{TRAINER}.nodeSelector", "each key must be letters, digits"),
    ("node label's value is no value", {f"{TRAINER}.nodeSelector": {"pool": "a/b"}},
     f"{TRAINER}.nodeSelector", "with a letter or digit at both ends"),
    ("affinity has no terms", {TERMS: []}, TERMS, "should have at least 1 items"),
    ("affinity compares with nothing", {f"{EXPRESSION}.values": []}, EXPRESSION,
     "In and NotIn need values: list at least one"),
    ("affinity is for a label with a value", {f"{EXPRESSION}.operator": "Exists"}, EXPRESSION,
     "take no values: remove them, or write In"),
    ("affinity compares with words", {f"{EXPRESSION}.operator": "Gt"}, EXPRESSION,
     "exactly one value, a whole number in quotes"),
    ("affinity has no such operator", {f"{EXPRESSION}.operator": "Equals"},
     f"{EXPRESSION}.operator", 'supported values: "In"'),
    ("toleration exists and has a value", {f"{TOLERATION}.operator": "Exists"}, TOLERATION,
     "remove value, or write operator Equal"),
    ("toleration without key and operator", {TOLERATION: {"effect": "NoSchedule"}}, TOLERATION,
     "operator must be Exists"),
    ("toleration of no eviction has a time", {f"{TOLERATION}.tolerationSeconds": 5}, TOLERATION,
     "set effect to NoExecute"),
    ("toleration has no such effect", {f"{TOLERATION}.effect": "Never"}, f"{TOLERATION}.effect",
     'supported values: "NoSchedule"'),
    ("variable has a dash", {f"{ENV}.name": "HTTP-PROXY"}, f"{ENV}.name",
     "must be letters, digits and '_'"),
    ("variable is the operator's", {f"{ENV}.name": "FINETUNE_GPUS"}, f"{ENV}.name",
     "set by the operator: choose another name"),
    ("variable is the pod's uid", {f"{ENV}.name": "POD_UID"}, f"{ENV}.name", "another name"),
    ("variable has no value", {ENV: {"name": "A"}}, ENV,
     'set exactly one of value and valueFrom; an empty value is ""'),
    ("variable has two values", {f"{TRAINER}.env[1].value": "x"}, f"{TRAINER}.env[1]",
     "set exactly one of value and valueFrom"),
    ("variable is from nowhere", {ENV: {"name": "A", "valueFrom": {}}}, f"{ENV}.valueFrom",
     "set exactly one of secretKeyRef and configMapKeyRef"),
    ("variable is from a key that is none",
     {f"{TRAINER}.env[1].valueFrom.secretKeyRef.key": "a/b"},
     f"{TRAINER}.env[1].valueFrom.secretKeyRef.key", "must be letters, digits"),
    ("variable is set twice", {f"{TRAINER}.env[1].name": "HTTPS_PROXY"}, f"{TRAINER}.env[1]",
     "Duplicate value"),
    ("pull secret is named twice",
     {f"{TRAINER}.imagePullSecrets": [{"name": "a"}, {"name": "a"}]},
     f"{TRAINER}.imagePullSecrets[1]", "Duplicate value"),
    ("priority class is no name", {f"{TRAINER}.priorityClassName": "High Priority"},
     f"{TRAINER}.priorityClassName", "must be the name of an object"),
    ("account has an underscore", {f"{TRAINER}.serviceAccountName": "my_account"},
     f"{TRAINER}.serviceAccountName", "must be the name of an object"),
    ("pod label is the operator's", {f"{TRAINER}.podLabels": {"finetune-operator.dev/x": "y"}},
     f"{TRAINER}.podLabels", "remove the keys"),
    ("pod label is a queue", {f"{TRAINER}.podLabels": {"kueue.x-k8s.io/queue-name": "q"}},
     f"{TRAINER}.podLabels", "all of finetune-operator.dev/"),
    ("pod label is the Job controller's", {f"{TRAINER}.podLabels": {"job-name": "y"}},
     f"{TRAINER}.podLabels", "remove the keys job-name"),
    ("pod label is too long", {f"{TRAINER}.podLabels": {"a": "b" * 64}}, f"{TRAINER}.podLabels",
     "Too long: may not be more than 63"),
    ("pod annotation lets a sidecar in",
     {f"{TRAINER}.podAnnotations": {"sidecar.istio.io/inject": "true"}},
     f"{TRAINER}.podAnnotations", "sidecar.istio.io/inject"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field", "remedy"), [pytest.param(*case[1:], id=case[0]) for case in BAD]
)
def test_bad_job_is_refused_with_field_and_remedy(
    admission: Admission, changes: Object, field: str, remedy: str
) -> None:
    refusal = admission.refusal(changed(EVERYTHING, changes))
    assert field in refusal
    assert remedy in refusal


def test_there_are_many_bad_jobs_and_none_is_told_twice() -> None:
    assert len(BAD) >= 60
    assert len({case[0] for case in BAD}) == len(BAD)


SAMPLES = [
    pytest.param(document, id=path.name)
    for path in sorted(Path("deploy/samples").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document and document["kind"] == "FineTuneJob"
]


@pytest.mark.parametrize("job", SAMPLES)
def test_sample_is_taken(admission: Admission, job: Object) -> None:
    assert admission.refusal(job) == ""


def test_smallest_job_is_taken(admission: Admission) -> None:
    job = fine_tune_job()
    del job["spec"]["trainer"]
    assert admission.refusal(job) == ""


GOOD: list[tuple[str, Object, Object]] = [
    ("every field", EVERYTHING, {}),
    ("other members of the unions", OTHERWISE, {}),
    ("validation set", VALIDATED, {}),
    ("name of 50 characters", EVERYTHING, {"metadata.name": "a" * 50}),
    ("http with a digest", EVERYTHING,
     {SOURCE: {"uri": "http://example.com/a.zip", "sha256": "0" * 64}}),
    ("folder with spaces and dots", EVERYTHING, {SOURCE: {"uri": "pvc://photos/My Photos/..a"}}),
    ("claim with dots", EVERYTHING, {SOURCE: {"uri": "pvc://photos.2024/x"}}),
    ("only a workspace", EVERYTHING, {"spec.output": REMOVED}),
    ("only an output", EVERYTHING, {"spec.workspace": REMOVED}),
    ("only a bucket", EVERYTHING,
     {"spec.output": {"uri": "s3://models", "secretRef": {"name": "keys"}},
      "spec.workspace": REMOVED}),
    ("bucket that anybody may write", EVERYTHING, {"spec.output": {"uri": "s3://models.x/a/b/"}}),
    ("workspace of one pod", EVERYTHING, {"spec.workspace.accessModes": ["ReadWriteOncePod"]}),
    ("workspace by its size alone", EVERYTHING, {"spec.workspace": {"size": "1Gi"}}),
    ("gang on a claim to be looked at later", EVERYTHING,
     {f"{TRAINER}.numNodes": 8, "spec.workspace": {"claimName": "w"}}),
    ("data prepared apart", EVERYTHING, {"spec.dataset.prepare": "Separate"}),
    ("image by digest", EVERYTHING, {f"{TRAINER}.image": f"a.b/c/d:1@sha256:{'0' * 64}"}),
    ("image by its name", EVERYTHING, {f"{TRAINER}.image": "trainer"}),
    ("no GPUs", EVERYTHING, {f"{TRAINER}.gpusPerNode": 0}),
    ("other GPUs", EVERYTHING,
     {f"{TRAINER}.gpuResourceName": "amd.com/gpu"}),
    ("part of a GPU", EVERYTHING, {f"{TRAINER}.gpuResourceName": "nvidia.com/mig-1g.10gb"}),
    ("huge pages", EVERYTHING, {f"{TRAINER}.resources.limits['hugepages-2Mi']": "2Mi"}),
    ("half a core", EVERYTHING, {f"{TRAINER}.resources.limits.cpu": "0.5"}),
    ("toleration of everything", EVERYTHING, {TOLERATION: {"operator": "Exists"}}),
    ("toleration with the default operator", EVERYTHING, {f"{TOLERATION}.operator": REMOVED}),
    ("empty variable", EVERYTHING, {f"{ENV}.value": ""}),
    ("trained without momentum", EVERYTHING, {f"{OPTIMIZER}.momentum": "0"}),
    ("trained with adamw", EVERYTHING,
     {OPTIMIZER: {"name": "adamw", "beta1": "0.9", "beta2": "0.999", "epsilon": "0.00000001"}}),
    ("one cycle", EVERYTHING, {f"{TRAINING}.schedule": {"name": "onecycle"}}),
    ("features with smoothing", EVERYTHING,
     {f"{TRAINING}.recipe": "features", f"{TRAINING}.augmentation": REMOVED}),
]  # fmt: skip


@pytest.mark.parametrize(("job", "changes"), [pytest.param(*case[1:], id=case[0]) for case in GOOD])
def test_good_job_is_taken(admission: Admission, job: Object, changes: dict[str, Any]) -> None:
    assert admission.refusal(changed(job, changes)) == ""
