"""Replaces the volumes of a manifest by folders and archives of this machine."""

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from finetune_trainer.contract import (
    Dataset,
    ExitCode,
    Job,
    Model,
    Source,
    TrainerError,
    Training,
)
from finetune_trainer.run import owner
from finetune_trainer.run.cgroup import available_cpus
from finetune_trainer.run.context import Paths, Run
from finetune_trainer.run.reporter import Reporter


def local_source(field: str, source: Source | None, path: Path | None, flag: str) -> Source | None:
    """Return the path as a source; without a path the manifest's, which may be on no volume."""
    if path is None:
        if source and source.uri.startswith("pvc://"):
            raise TrainerError(
                ExitCode.InvalidSpec,
                f"spec.{field}: {source.uri} is a volume of a cluster.",
                f"Give its content on this machine: {flag} PATH.",
            )
        return source
    if not path.exists():
        raise TrainerError(
            ExitCode.InputNotFound,
            f"{flag} {path} does not exist.",
            f"Give a file or folder that replaces spec.{field}.",
        )
    return Source(uri=path.resolve().as_uri())


def local_dataset(given: Dataset, *, data: Path | None, validation_data: Path | None) -> Dataset:
    """Return the data set with --data and --validation-data in place of its sources."""
    validation = local_source(
        "dataset.validationSource", given.validation_source, validation_data, "--validation-data"
    )
    return msgspec.structs.replace(
        given,
        source=local_source("dataset.source", given.source, data, "--data") or given.source,
        validation_source=validation,
    )


def make_folder(path: Path, flag: str) -> None:
    """Make the folder that an option names."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainerError(
            ExitCode.OutputNotWritable,
            f"{flag} {path}: {error.strerror}.",
            f"Give a folder that can be written: {flag} DIR.",
        ) from error


@contextlib.contextmanager
def open_run(
    dataset: Dataset,
    *,
    workspace: Path,
    training: Training | None = None,
    reporter: Reporter | None = None,
    threads: int | None = None,
) -> Iterator[Run]:
    """Yield the input of the stages that read photos; its own folder is deleted at the end."""
    with tempfile.TemporaryDirectory(dir=workspace, prefix=".local-") as directory:
        job = Job(
            name="local",
            namespace="",
            uid=str(uuid.uuid4()),
            attempt=1,
            pod_uid="local",
            model=Model(),
            dataset=dataset,
            training=training or Training(),
        )
        paths = Paths(workspace, workspace / "claims", workspace / "models", job=Path(directory))
        owner.claim(paths.job, job.pod_uid)
        reporter = reporter or Reporter(lambda line: None)
        yield Run(job, paths, reporter, threads=threads or available_cpus())
