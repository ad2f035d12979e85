"""The stage `evaluate`: measures the saved model on all validation images."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.lock import open_lock
from finetune_trainer.dataset.preprocessing import Preprocessing
from finetune_trainer.evaluate.metrics import Answers, OnnxFile, measure, status_metrics
from finetune_trainer.evaluate.onnx_twin import Twin
from finetune_trainer.evaluate.scoring import Score
from finetune_trainer.model.inference import contexts_of, forward, labels_of
from finetune_trainer.model.memory import with_batches_that_fit
from finetune_trainer.model.network import Network, load, load_preprocessing
from finetune_trainer.model.reader import Reader
from finetune_trainer.run import files, threads
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import (
    EVALUATION,
    FITTED,
    MODEL_ONNX,
    PACKED,
    Fitted,
    Packed,
)

BATCH_SIZE = 32


def evaluate(run: Run) -> None:
    """Load the model from disk, as a user will, and classify every validation image with it."""
    packed = files.read_json(run.paths.job / PACKED, Packed)
    fitted = files.read_json(run.paths.job / FITTED, Fitted)
    directory = Path(fitted.directory)
    network, preprocessing = load(directory), load_preprocessing(directory)

    def classify(images: int) -> tuple[Score, Answers, OnnxFile | None]:
        reader = Reader.of(
            Path(packed.directory, "val.rec"),
            preprocessing,
            batch_size=images * max(1, run.gpus),
            threads=run.threads,
        )
        return _classify(run, network, reader, _twin(run, network, preprocessing))

    score, answers, onnx = with_batches_that_fit(classify, BATCH_SIZE, what="evaluating the model")
    _check(score, images=packed.status.validation_images)
    evaluation = measure(
        answers,
        classes=packed.classes,
        paths=_paths(Path(packed.directory)),
        cross_entropy=score.cross_entropy,
    )
    evaluation = msgspec.structs.replace(evaluation, onnx=onnx)
    run.hand_on(EVALUATION, evaluation)
    run.reporter.progress(fraction=1.0, metrics=status_metrics(evaluation))


def _classify(
    run: Run, network: Network, reader: Reader, twin: Twin | None
) -> tuple[Score, Answers, OnnxFile | None]:
    """Classify every image with the network, and with its ONNX file if there is a twin."""
    plan = threads.for_inference(cpus=run.threads)
    contexts = contexts_of(gpus=run.gpus, cpus=plan.contexts)
    score, answers = Score(), []
    for step, (batch, probabilities) in enumerate(forward(network, reader.centre(), contexts)):
        labels = labels_of(batch)
        score.add(probabilities, labels)
        answers.append(Answers.of(probabilities, labels))
        if twin:
            twin.compare(batch.data[0].asnumpy()[: len(labels)], probabilities)
        run.reporter.progress(step=step + 1, fraction=score.total / reader.images)
    return score, Answers.joined(answers), twin.conclude() if twin else None


def _twin(run: Run, network: Network, preprocessing: Preprocessing) -> Twin | None:
    if run.job.output is None or "onnx" not in run.job.output.formats:
        return None
    run.check_owner()
    path = run.paths.job / MODEL_ONNX
    return Twin.of(network, path, preprocessing, threads=run.threads)


def _paths(packed: Path) -> Sequence[str]:
    with open_lock(packed) as (_, photos):  # in the order of val.rec
        return [photo.path for photo in photos if photo.split == "validation"]


def _check(score: Score, *, images: int) -> None:
    """Raise if images are missing or the loss is NaN: there is no accuracy then."""
    if score.total != images:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{score.total} of {images} validation images are left in the packed data",
            "Delete the folder packed/ of the workspace, so that it is packed again.",
        )
    if not score.is_finite:
        raise TrainerError(
            ExitCode.Diverged,
            "The loss of the fitted network on the validation images is NaN or infinite",
            "Lower training.optimizer.learningRate.",
        )
