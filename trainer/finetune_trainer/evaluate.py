"""Counts the saved model's right answers over the validation images (the stage `evaluate`)."""

from pathlib import Path

import numpy as np

from finetune_trainer import files, threads
from finetune_trainer.contract import ExitCode, Metric, TrainerError
from finetune_trainer.dataset.read import Reader
from finetune_trainer.handoff import EVALUATED, FITTED, PACKED, Evaluated, Fitted, Packed
from finetune_trainer.model.network import load, load_preprocessing
from finetune_trainer.scoring import Score, contexts, outputs
from finetune_trainer.stage import Run

BATCH_SIZE = 32


def evaluate(run: Run) -> None:
    """Load the model from disk, as a user will, and score it."""
    packed = files.read_json(run.paths.job / PACKED, Packed)
    fitted = files.read_json(run.paths.job / FITTED, Fitted)
    directory = Path(fitted.directory)
    reader = Reader.of(
        Path(packed.directory, "val.rec"),
        load_preprocessing(directory),
        batch_size=BATCH_SIZE * max(1, run.devices),
        threads=run.threads,
    )
    plan = threads.for_inference(cpus=run.threads)
    devices = contexts(devices=run.devices, cpus=plan.contexts)
    score, seen = Score(), np.zeros(len(packed.classes), dtype=np.int64)
    for step, (probabilities, labels) in enumerate(
        outputs(load(directory), reader.centre(), devices)
    ):
        score.add(probabilities, labels)
        seen += np.bincount(labels, minlength=len(seen))
        run.reporter.progress(step=step + 1, fraction=score.total / packed.status.validation_images)
    _check(score, images=packed.status.validation_images)
    metrics = _metrics(score, seen.max() / score.total)
    run.hand_on(
        EVALUATED,
        Evaluated(
            correct=score.correct,
            total=score.total,
            accuracy=f"{score.accuracy:.4f}",
            metrics=metrics,
        ),
    )
    run.reporter.progress(fraction=1.0, metrics=metrics)


def _check(score: Score, *, images: int) -> None:
    """Raise if the count is no accuracy of the model."""
    if score.total != images:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{score.total} of {images} validation images are left in the packed data",
            "Delete the packed data from the workspace, so that it is made again.",
        )
    if not score.is_finite:
        raise TrainerError(
            ExitCode.Diverged,
            "The fitted network gives no numbers for the validation images",
            "Lower training.optimizer.learningRate.",
        )


def _metrics(score: Score, majority: float) -> tuple[Metric, ...]:
    return (
        Metric(name="accuracy", value=f"{score.accuracy:.4f}"),
        Metric(name="cross-entropy", value=f"{score.cross_entropy:.4f}"),
        # What always naming the commonest class would score: the accuracy must beat it.
        Metric(name="majority-class", value=f"{majority:.4f}"),
    )
