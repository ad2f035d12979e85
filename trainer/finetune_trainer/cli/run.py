"""`finetune-trainer run`: trains a FineTuneJob manifest on this machine, by the pods' code."""

import argparse
import contextlib
import dataclasses
import shutil
import uuid
from pathlib import Path

import msgspec

from finetune_trainer.cli.arguments import add_workspace
from finetune_trainer.cli.display import open_display
from finetune_trainer.cli.earlier import LocalRun, digest_of, states, take_over
from finetune_trainer.cli.errors import print_error
from finetune_trainer.cli.local import local_dataset, local_source, make_folder
from finetune_trainer.cli.manifest import JobManifest, Spec, read_manifest
from finetune_trainer.contract import ExitCode, Job, Model, Output, Result, TrainerError
from finetune_trainer.pipeline import STAGES, Stage, paths_from
from finetune_trainer.run.context import Paths
from finetune_trainer.run.files import read_json
from finetune_trainer.run.handoff import RESULT
from finetune_trainer.run.signals import Signals
from finetune_trainer.supervisor.run_status import RunStatus
from finetune_trainer.supervisor.supervisor import Display, Supervisor
from finetune_trainer.supervisor.termination import Ending, reference

_NAMESPACE = uuid.UUID("7f0d5f0e-6d0b-5b59-9a52-3f1f2ff3c1de")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The arguments of the verb."""

    manifest: Path
    data: Path | None
    validation_data: Path | None
    workspace: Path
    output: Path
    model: Path | None = None
    resume_from: Path | None = None
    fresh: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the manifest, and what replaces its volumes on this machine."""
    parser.add_argument("manifest", type=Path, help="YAML file with one FineTuneJob")
    parser.add_argument(
        "--data", type=Path, help="photos: a folder or an archive, in place of dataset.source"
    )
    parser.add_argument(
        "--validation-data", type=Path, help="photos, in place of dataset.validationSource"
    )
    parser.add_argument("--model", type=Path, help="file or folder, in place of model.source")
    parser.add_argument(
        "--resume-from", type=Path, help="a model's folder, in place of training.resumeFrom"
    )
    add_workspace(parser, "folder of packed data and checkpoints")
    parser.add_argument(
        "--output", type=Path, default=Path("output"), help="folder of the model (%(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="do not resume an earlier run")


def run(arguments: argparse.Namespace) -> int:
    """Train the manifest; return the exit code of the contract."""
    return run_local(RunOptions(**vars(arguments)))


def run_local(options: RunOptions, *, stages: tuple[Stage, ...] = STAGES) -> int:
    """Train the manifest by these stages; return the exit code of the contract."""
    manifest = read_manifest(options.manifest)
    job = localize(manifest, options)
    make_folder(options.workspace, "--workspace")
    with open_display() as display, Signals() as signals:
        if manifest.ignored:
            display.say(f"ignored without a cluster: {', '.join(manifest.ignored)}")
        ending = _train(job, options, display=display, signals=signals, stages=stages)
    _print_ending(ending)
    return ending.code


def localize(manifest: JobManifest, options: RunOptions) -> Job:
    """Return the job with this machine's folders in place of the cluster's volumes.

    The uid is the same for the same manifest, folders and photos, so that a second run resumes the
    first.
    """
    spec = manifest.spec
    dataset = local_dataset(
        spec.dataset, data=options.data, validation_data=options.validation_data
    )
    # It is about pods: here it must not change the uid.
    dataset = msgspec.structs.replace(dataset, prepare="Auto")
    resumed = local_source(
        "training.resumeFrom", spec.training.resume_from, options.resume_from, "--resume-from"
    )
    spec = msgspec.structs.replace(
        spec,
        model=_local_model(spec.model, options.model),
        dataset=dataset,
        training=msgspec.structs.replace(spec.training, resume_from=resumed),
        output=msgspec.structs.replace(
            spec.output or Output(uri=""), uri=options.output.resolve().as_uri(), secret_ref=None
        ),
    )
    return Job(
        name=manifest.name,
        namespace=manifest.namespace,
        uid=str(uuid.uuid5(_NAMESPACE, _fingerprint(manifest.name, spec))),
        attempt=1,
        pod_uid=str(uuid.uuid4()),
        model=spec.model,
        dataset=spec.dataset,
        training=spec.training,
        output=spec.output,
    )


def _local_model(model: Model, path: Path | None) -> Model:
    """Return the model with its file on this machine; the kind of file is still the manifest's."""
    if model.source is None and path is None:
        return model
    if model.source is None:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"--model {path}: spec.model.source is not set.",
            "Write model.source in place of model.name, with any uri: --model replaces the uri.",
        )
    local = local_source("model.source", model.source, path, "--model")
    assert local
    if local is model.source:
        return model
    source = msgspec.structs.replace(model.source, uri=local.uri, secret_ref=None)
    return msgspec.structs.replace(model, source=source)


def _fingerprint(name: str, spec: Spec, *, times: bool = True) -> str:
    given = (spec.dataset.source, spec.dataset.validation_source)
    sources = filter(None, (*given, spec.model.source, spec.training.resume_from))
    paths = paths_from({}, uid="")
    local = [each.uri for each in sources if each.uri.startswith("file://")]
    files = (state for uri in local for state in states(paths.local(uri, field="spec")))
    return digest_of(name.encode() + msgspec.json.encode(spec), files, times=times)


def _identity(job: Job) -> LocalRun:
    assert job.output
    spec = Spec(model=job.model, dataset=job.dataset, training=job.training, output=job.output)
    return LocalRun(
        name=f"{job.namespace}/{job.name}", digest=_fingerprint(job.name, spec, times=False)
    )


def _train(
    job: Job, options: RunOptions, *, display: Display, signals: Signals, stages: tuple[Stage, ...]
) -> Ending:
    environment = {
        "FINETUNE_JOB": msgspec.json.encode(job).decode(),
        "FINETUNE_WORKSPACE": str(options.workspace.absolute()),
    }
    paths = paths_from(environment, uid=job.uid)
    directory = paths.job
    if options.fresh:
        shutil.rmtree(directory, ignore_errors=True)
    _remove_result_without_model(paths)
    if directory.is_dir():
        display.say(f"resuming an earlier run in {directory} (--fresh starts over)")
    elif not options.fresh and (message := take_over(directory, _identity(job))):
        display.say(message)
    run_status = RunStatus(reference(job), stages=stages)
    return Supervisor(
        job=job,
        environment=environment,
        run_status=run_status,
        display=display,
        signals=signals,
        stages=stages,
    ).run()


def _remove_result_without_model(paths: Paths) -> None:
    """Delete a result whose model was deleted since: it would name an empty place."""
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        output = read_json(paths.job / RESULT, Result).output
        if output and not paths.local(output.uri, field="output.uri").exists():
            (paths.job / RESULT).unlink()


def _print_ending(ending: Ending) -> None:
    result, error = ending.termination.result, ending.termination.error
    if result:
        print(f"accuracy {result.accuracy}")
        if result.output:
            print(f"model    {result.output.uri.removeprefix('file://')}")
    if error:
        can_resume = ending.code == ExitCode.Interrupted
        hint = "Run the same command again to resume." if can_resume else error.hint
        print_error(error.reason, error.message, hint)
