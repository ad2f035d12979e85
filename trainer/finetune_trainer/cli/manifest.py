"""Reads a FineTuneJob manifest for a local run, and checks single fields as the API server would.
Contradictions between fields are found by the stage `fetch`.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from finetune_trainer.contract import (
    Dataset,
    ExitCode,
    Model,
    Output,
    Struct,
    TrainerError,
    Training,
)
from finetune_trainer.contract.parse import invalid

API_VERSION = "finetune-operator.dev/v1alpha1"
KIND = "FineTuneJob"
OPERATOR_FIELDS = frozenset(
    {
        "trainer",
        "workspace",
        "suspend",
        "backoffLimit",
        "activeDeadlineSeconds",
        "startupDeadlineSeconds",
        "stallDeadlineSeconds",
        "ttlSecondsAfterFinished",
    }
)
"""Fields for the operator alone; a local run ignores them."""


_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMES = "Use lowercase letters, digits, - and . between them, as in flowers-2; quote a number."


class Spec(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of a FineTuneJob's spec that the trainer owns."""

    model: Model = msgspec.field(default_factory=Model)
    dataset: Dataset
    training: Training = msgspec.field(default_factory=Training)
    output: Output | None = None


@dataclasses.dataclass(frozen=True)
class JobManifest:
    """The FineTuneJob of a file."""

    name: str
    namespace: str
    spec: Spec
    ignored: tuple[str, ...]
    """Fields of the file that are for the operator alone."""


def read_manifest(path: Path) -> JobManifest:
    """Read the one FineTuneJob of a YAML file; every error names the file, and the field."""
    try:
        return _parse(_find_job(path))
    except TrainerError as error:
        raise TrainerError(error.code, f"{path}: {error.message}", error.hint) from error


def _parse(document: dict[str, Any]) -> JobManifest:
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict):
        metadata = {}
    name = _name(metadata.get("name"), field="metadata.name")
    namespace = _name(metadata.get("namespace") or "default", field="metadata.namespace")
    spec = document.get("spec") or {}
    if not isinstance(spec, dict):
        raise TrainerError(
            ExitCode.InvalidSpec,
            "spec: an object is required",
            "Write dataset, model and training below it, indented.",
        )
    try:
        parsed = msgspec.convert(
            {key: value for key, value in spec.items() if key not in OPERATOR_FIELDS}, Spec
        )
    except msgspec.ValidationError as error:
        raise invalid(error) from error
    return JobManifest(
        name=name,
        namespace=namespace,
        spec=parsed,
        ignored=tuple(f"spec.{key}" for key in spec if key in OPERATOR_FIELDS),
    )


def _name(value: object, *, field: str) -> str:
    """Return a name as the API server takes it: it also becomes the name of a folder."""
    if value is None:
        raise TrainerError(ExitCode.InvalidSpec, f"{field}: a name is required", _NAMES)
    if not isinstance(value, str) or len(value) > 253 or not _DNS_NAME.fullmatch(value):
        raise TrainerError(ExitCode.InvalidSpec, f"{field}: {value!r} is not a valid name", _NAMES)
    return value


def _find_job(path: Path) -> dict[str, Any]:
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TrainerError(
            ExitCode.InputNotFound, f"{error.strerror}.", "Give a FineTuneJob YAML file."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainerError(
            ExitCode.InvalidSpec, f"This is not YAML: {error}", "Give a FineTuneJob YAML file."
        ) from error
    jobs = [
        document
        for document in documents
        if isinstance(document, dict) and document.get("kind") == KIND
    ]
    if len(jobs) != 1:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"The file has {len(jobs)} objects of kind {KIND}; one is needed.",
            "Give each job its own file.",
        )
    if jobs[0].get("apiVersion") != API_VERSION:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"apiVersion: {jobs[0].get('apiVersion')} is not known to this version of the trainer.",
            f"Write {API_VERSION}.",
        )
    return jobs[0]
