"""`finetune-trainer run`: a FineTuneJob manifest on this machine, by the code that runs in pods."""

import dataclasses
import hashlib
import os
import shutil
import sys
import uuid
from pathlib import Path

import msgspec

from finetune_trainer.board import Board
from finetune_trainer.contract import ExitCode, Job, Output, Source, TrainerError
from finetune_trainer.display import Display, open_display
from finetune_trainer.manifest import Manifest, Spec, read_manifest
from finetune_trainer.pipeline import STAGES, Stage, paths_from
from finetune_trainer.signals import Signals
from finetune_trainer.supervisor import Supervisor
from finetune_trainer.termination import Ending, reference

_NAMESPACE = uuid.UUID("7f0d5f0e-6d0b-5b59-9a52-3f1f2ff3c1de")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """What the command line says beyond the manifest."""

    data: Path | None
    validation_data: Path | None
    workspace: Path
    output: Path
    fresh: bool


def run_local(path: Path, choices: Choices, *, stages: tuple[Stage, ...] = STAGES) -> int:
    """Train the manifest; return the exit code of the contract."""
    try:
        manifest = read_manifest(path)
        job = localize(manifest, choices)
    except TrainerError as error:
        print(f"{path}: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.code
    with open_display() as display, Signals() as signals:
        if manifest.ignored:
            display.say(f"ignored without a cluster: {', '.join(manifest.ignored)}")
        ending = _train(job, choices, display=display, signals=signals, stages=stages)
    _say_how_it_ended(ending)
    return ending.code


def localize(manifest: Manifest, choices: Choices) -> Job:
    """Return the job with this machine's folders in place of the cluster's.

    The uid is the same for the same manifest, folders and photos, so that a second run goes on
    where the first was stopped.
    """
    spec = manifest.spec
    dataset = msgspec.structs.replace(
        spec.dataset,
        source=_local("dataset.source", spec.dataset.source, choices.data, "--data"),
        validation_source=spec.dataset.validation_source
        and _local(
            "dataset.validationSource",
            spec.dataset.validation_source,
            choices.validation_data,
            "--validation-data",
        ),
    )
    spec = msgspec.structs.replace(
        spec, dataset=dataset, output=Output(uri=choices.output.absolute().as_uri())
    )
    return Job(
        name=manifest.name,
        namespace=manifest.namespace,
        uid=str(uuid.uuid5(_NAMESPACE, _fingerprint(manifest.name, spec, choices))),
        attempt=1,
        pod_uid=str(uuid.uuid4()),
        model=spec.model,
        dataset=spec.dataset,
        training=spec.training,
        output=spec.output,
    )


def _local(field: str, source: Source, directory: Path | None, flag: str) -> Source:
    if directory is None:
        if source.uri.startswith("pvc://"):
            raise TrainerError(
                ExitCode.InvalidSpec,
                f"spec.{field}: {source.uri} is a volume of a cluster.",
                f"Name the folder on this machine: {flag} DIR.",
            )
        return source
    if not directory.is_dir():
        raise TrainerError(
            ExitCode.InputNotFound,
            f"{flag} {directory} is not a folder.",
            "It must hold one folder of photos for each class.",
        )
    return Source(uri=directory.resolve().as_uri())


def _fingerprint(name: str, spec: Spec, choices: Choices) -> str:
    digest = hashlib.sha256(name.encode() + msgspec.json.encode(spec))
    for root in filter(None, (choices.data, choices.validation_data)):
        for file in sorted(root.rglob("*")):
            state = file.stat()
            line = f"{file.relative_to(root)} {state.st_size} {state.st_mtime_ns}\n"
            digest.update(line.encode())
    return digest.hexdigest()


def _train(
    job: Job, choices: Choices, *, display: Display, signals: Signals, stages: tuple[Stage, ...]
) -> Ending:
    environment = {
        "FINETUNE_JOB": msgspec.json.encode(job).decode(),
        "FINETUNE_WORKSPACE": str(choices.workspace.absolute()),
        "FINETUNE_MODELS": os.environ.get(
            "FINETUNE_MODELS", str(choices.workspace.absolute() / "models")
        ),
    }
    directory = paths_from(environment, uid=job.uid).job
    if choices.fresh:
        shutil.rmtree(directory, ignore_errors=True)
    elif directory.is_dir():
        display.say(f"going on from an earlier run in {directory} (--fresh starts over)")
    board = Board(reference(job), stages=stages)
    return Supervisor(
        job=job,
        environment=environment,
        board=board,
        console=display,
        signals=signals,
        stages=stages,
    ).run()


def _say_how_it_ended(ending: Ending) -> None:
    result, error = ending.termination.result, ending.termination.error
    if result:
        print(f"accuracy {result.accuracy}")
        if result.output:
            print(f"model    {result.output.uri.removeprefix('file://')}")
    if error:
        print(f"{error.reason}: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
    if ending.code == ExitCode.Interrupted:
        print("Run the same command again to go on.", file=sys.stderr)
