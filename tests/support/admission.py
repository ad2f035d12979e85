"""FineTuneJobs that use every field, and the question whether the API server would take one."""

import copy
import json
import re
from typing import Any

from tests.cluster.client import Api, ApiError
from tests.support.world import FTJS, Object, fine_tune_job

REMOVED = object()
"""In the place of a value: no such field."""
HYPERPARAMETERS = {
    **{"num_classes": "257", "use_pretrained_model": "1", "epochs": "10", "kv_store": "dist_sync"},
    **{"mini_batch_size": "128", "augmentation_type": "crop_color", "optimizer": "rmsprop"},
    **{"learning_rate": "1e-3", "momentum": ".9", "weight_decay": "0.0001", "beta_1": "0.9"},
    **{"beta_2": "0.999", "eps": "1E-8", "lr_scheduler_step": "4, 8", "lr_scheduler_factor": "0.1"},
    **{"precision_dtype": "float16", "early_stopping": "True", "early_stopping_min_epochs": "2"},
    **{"early_stopping_patience": "3", "early_stopping_tolerance": "0.01", "multi_label": "0"},
    **{"use_weighted_loss": "0", "num_training_samples": "15420", "checkpoint_frequency": "1"},
    "top_k": "5",
}
"""All that are known, as SageMaker's users write them."""


class Admission:
    """Asks by dry runs: nothing is stored, no operator sees anything."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._path = f"{FTJS}/namespaces/{namespace}/finetunejobs"

    def blocked(self, job: Object) -> str:
        """Return why this job may not be created, "" if it may."""
        return self._ask("POST", "", job)

    def refusal_of_change(self, job: Object) -> str:
        """Return why the stored job of this name may not become this one, "" if it may."""
        patch = [{"op": "replace", "path": "/spec", "value": job["spec"]}]
        return self._ask("PATCH", f"/{job['metadata']['name']}", patch)

    def _ask(self, method: str, name: str, body: object) -> str:
        kind = "application/json-patch+json" if method == "PATCH" else "application/json"
        try:
            path = f"{self._path}{name}?dryRun=All&fieldValidation=Strict"
            self._api.request(method, path, body, kind=kind)
        except ApiError as error:
            if error.code not in (400, 422):
                raise
            return str(json.loads(str(error).partition(": ")[2])["message"])
        return ""


def changed(job: Object, changes: Object) -> Object:
    """Return a copy with values set by path: {"spec.trainer.env[0].name": "A"}."""
    result = copy.deepcopy(job)
    for path, value in changes.items():
        *parents, last = steps(path)
        place: Any = result
        for step in parents:
            place = place.setdefault(step, {}) if isinstance(place, dict) else place[int(step)]
        if value is REMOVED:
            place.pop(last, None)
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return result


def steps(path: str) -> list[str]:
    """Return the steps of a path: names, and numbers of list items; "a['b.c'].d" quotes one."""
    found = re.findall(r"\['([^']+)'\]|\[(\d+)\]|([^.\[\]]+)", path)
    return ["".join(step) for step in found]


_GPU_NODES = {
    "matchExpressions": [
        {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-A100-SXM4-80GB"]},
        {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["20000"]},
        {"key": "example.com/broken", "operator": "DoesNotExist"},
    ]
}
EVERYTHING = fine_tune_job(
    "everything",
    suspend=True,
    backoffLimit=5,
    activeDeadlineSeconds=86400,
    startupDeadlineSeconds=600,
    stallDeadlineSeconds=300,
    ttlSecondsAfterFinished=3600,
    dataset={
        "source": {
            "uri": "https://example.com/photos.tar.gz",
            "sha256": "0" * 64,
            "secretRef": {"name": "photos.login"},
        },
        "layout": "Csv",
        "csv": {
            "file": "lists/labels.csv",
            "pathColumn": "photo",
            "labelColumn": "breed",
            "splitColumn": "set",
        },
        "split": {
            "trainFraction": "0.8",
            "seed": 7,
            "groupBy": {"column": "patient"},
            "nearDuplicates": "Split",
        },
        "image": {"framing": "Whole", "jpegQuality": 95},
        "badImages": {"policy": "Skip", "maxFraction": "0.1"},
        "prepare": "Auto",
    },
    training={
        "recipe": "tutorial",
        "epochs": 8,
        "batchSizePerDevice": 16,
        "seed": 1,
        "optimizer": {
            "name": "sgd",
            "learningRate": "0.01",
            "momentum": "0.9",
            "weightDecay": "0.0001",
        },
        "schedule": {
            "name": "step",
            "warmupEpochs": "0.5",
            "stepEpochs": [4, 6],
            "factor": "0.1",
        },
        "augmentation": "strong",
        "labelSmoothing": "0.1",
        "mixup": "0.2",
        "cutmix": "1.0",
        "classWeights": "balanced",
        "sampling": "natural",
        "gradientClipping": "1.0",
        "gradientAccumulation": 4,
        "weightAveraging": "ema",
        "onDivergence": "Fail",
        "minAccuracy": "0.77",
    },
    trainer={
        "image": "registry.example.com:5000/team/trainer:1.2",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "registry"}],
        "numNodes": 1,
        "gpusPerNode": 2,
        "gpuResourceName": "nvidia.com/gpu",
        "resources": {
            "requests": {"cpu": 2, "memory": "4Gi", "example.com/device": "1"},
            "limits": {"ephemeral-storage": "20G", "memory": "8Gi"},
        },
        "env": [
            {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token.txt"}}},
            {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "mode"}}},
        ],
        "sharedMemory": "2Gi",
        "terminationGracePeriodSeconds": 60,
        "nodeSelector": {"example.com/pool": "gpu"},
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_GPU_NODES]}
        },
        "tolerations": [
            {"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"},
            {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        ],
        "priorityClassName": "low",
        "schedulerName": "default-scheduler",
        "runtimeClassName": "nvidia",
        "serviceAccountName": "trainer",
        "podLabels": {"example.com/team": "vision", "empty": ""},
        "podAnnotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
        "securityContext": {
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "supplementalGroups": [2000],
        },
        "preparation": {
            "resources": {
                "requests": {"cpu": 4, "memory": "8Gi"},
                "limits": {"ephemeral-storage": "20G", "memory": "8Gi"},
            },
            "nodeSelector": {"example.com/pool": "cpu"},
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [_GPU_NODES]
                }
            },
            "tolerations": [
                {"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        },
    },
    workspace={
        "size": "20Gi",
        "storageClassName": "fast",
        "accessModes": ["ReadWriteMany"],
        "reclaimPolicy": "Delete",
    },
    output={"uri": "pvc://models/flowers"},
)
OWN_MODEL: Object = {
    "source": {
        "uri": "https://example.com/resnet50.pth",
        "sha256": "0" * 64,
        "secretRef": {"name": "hub.login"},
        "format": "torch",
        "architecture": "resnet-50",
    },
    "replaceAfter": "flatten",
    "inputSize": 224,
    "normalization": {
        "mean": ["123.68", "116.78", "103.94"],
        "std": ["58.4", "57.1", "57.4"],
    },
}
"""A network of the user's own, with every field."""
OTHERWISE = changed(
    EVERYTHING,
    {
        "spec.model": OWN_MODEL,
        "spec.dataset.split": {"trainPerClass": 60, "groupBy": {"pattern": "(p[0-9]+)_"}},
        "spec.training.optimizer": {
            "name": "adamw",
            "beta1": "0.9",
            "beta2": "0.999",
            "epsilon": "0.00000001",
        },
        "spec.training.earlyStopping": {"patience": 3, "minEpochs": 5, "tolerance": "0.01"},
        "spec.workspace": {"claimName": "workspace"},
        "spec.dataset.source": {"uri": "pvc://photos/2024"},
        "spec.output": {
            "uri": "s3://models/flowers",
            "secretRef": {"name": "bucket"},
            "formats": ["onnx"],
            "tensorboard": True,
        },
    },
)
"""The other member of each union."""
RESUMED = changed(
    EVERYTHING,
    {
        "spec.model": REMOVED,
        "spec.dataset.image.resizeShort": 256,
        "spec.training.resumeFrom": {
            "uri": "https://example.com/flowers.tar",
            "sha256": "0" * 64,
            "secretRef": {"name": "models.login"},
        },
        "spec.training.schedule": REMOVED,
        "spec.training.hyperparameters": {"num_classes": "257", "top_k": "5"},
    },
)
"""From an earlier model, with SageMaker's names."""
VALIDATED = changed(
    EVERYTHING,
    {
        "spec.dataset.split": REMOVED,
        "spec.dataset.validationSource": EVERYTHING["spec"]["dataset"]["source"],
        "spec.training": {"timeBudgetSeconds": 60},
    },
)
"""With a validation set, and little said of the training."""
