"""All figures about a classifier, exact, from its answer to each validation image; pure.

Each is arithmetic on one row per image, so that batch sizes and devices make no difference. A new
figure is one function of an Evaluation and one line in METRICS. Imports no MXNet.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import Metric, Struct

TOP = 5
BINS = 15
"""Intervals of confidence, of equal width, for the calibration error."""
WORST = 24
"""Wrong answers that are listed."""
NORMAL_95 = 1.959963984540054
"""95 % of a normal distribution lie within this many standard deviations of its mean."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Answers:
    """A classifier's answers; all arrays have one entry for each image."""

    labels: Ints
    predicted: Ints
    confidence: Floats
    """Probability of the predicted class, 0 to 1."""
    right: Floats
    """Probability of the image's own class, 0 to 1."""
    rank: Ints
    """Number of classes that are more probable than the image's own; of equally probable classes
    the first one counts as more probable."""

    @classmethod
    def of(cls, probabilities: Floats, labels: Ints) -> "Answers":
        """Return the answers in a batch of probabilities [images, classes]."""
        right = np.take_along_axis(probabilities, labels[:, None], axis=1)
        equal_before = (probabilities == right) & (
            np.arange(probabilities.shape[1]) < labels[:, None]
        )
        return cls(
            labels=labels,
            predicted=probabilities.argmax(axis=1),
            confidence=probabilities.max(axis=1),
            right=right[:, 0],
            rank=(probabilities > right).sum(axis=1) + equal_before.sum(axis=1),
        )

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """Return the answers of all batches, in their order."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def total_loss(right: Floats) -> float:
    """Return the sum of the cross-entropies, in nats; `right` are the probabilities of the images'
    own classes.
    """
    return -float(np.log(np.maximum(right, np.float32(1e-12))).sum(dtype=np.float64))


class ClassFigures(Struct):
    """The figures of one class. A quotient by zero is left out."""

    name: str
    images: int
    predicted: int
    """Number of images that are classified as this class, correctly or not."""
    correct: int
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


class Bin(Struct):
    """The images whose confidence lies between two bounds."""

    low: float
    high: float
    images: int
    confidence: float
    """Mean confidence of these images."""
    accuracy: float


class Mistake(Struct):
    """A wrong answer."""

    record: int
    """Number of the image's record in val.rec, from 0."""
    path: str
    """Path of the photo in its source."""
    label: str
    predicted: str
    confidence: float
    right: float
    """Probability of the image's own class."""


class OnnxFile(Struct):
    """Comparison of the ONNX file's answers with MXNet's, on all validation images."""

    opset: int = 0
    images: int = 0
    differing: int = 0
    """Number of images whose most probable class is another one."""
    ties: int = 0
    """Number of differing images whose two classes are equally probable, to rounding."""
    max_difference: float = 0.0
    """Largest difference of any probability."""
    reason: str = ""
    """Reason why there is no ONNX file; empty: there is one."""


class Evaluation(Struct):
    """evaluation.json: all figures about the saved model, from the validation images."""

    images: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    """95 % confidence interval of the accuracy, by Wilson (1927)."""
    mean_per_class: float
    """Mean of the classes' recall: Caltech's metric."""
    majority: float
    """Accuracy of always answering the most frequent class: a useful model has a higher one."""
    cross_entropy: float
    calibration_error: float
    """Mean difference of confidence and accuracy over the bins, weighted by images."""
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, int, int], ...]
    """(class, predicted class, images), without the pairs that no image has."""
    calibration: tuple[Bin, ...]
    worst: tuple[Mistake, ...]
    """The most confident wrong answers."""
    top5: float | None = None
    """Share of images whose class is among the five most probable; None with five classes or
    fewer."""
    notes: tuple[str, ...] = ()
    onnx: OnnxFile | None = None
    """None: the job's output wants no ONNX file."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure of a model, as the job's status, metrics.json and the report show it."""

    name: str
    """Name in the job's status and in metrics.json."""
    value: Callable[[Evaluation], float | None]
    """The figure; None: it does not apply to these classes, and is left out."""
    tile: int = 0
    """Place among the report's tiles, from 1; 0: it has no tile."""
    label: str = ""
    """Name on the tile."""
    explanation: str = ""
    """One line below it."""
    is_share: bool = True
    """True if the report shows it in percent."""


METRICS = (
    Figure("accuracy", lambda e: e.accuracy),
    Figure("accuracy-low", lambda e: e.interval[0]),
    Figure("accuracy-high", lambda e: e.interval[1]),
    Figure(
        "top5-accuracy", lambda e: e.top5, 2, "top 5", "the right class is among the first five"
    ),
    Figure(
        "mean-per-class", lambda e: e.mean_per_class, 1, "mean per class", "each class counts alike"
    ),
    Figure(
        "cross-entropy",
        lambda e: e.cross_entropy,
        5,
        "cross-entropy",
        "nats; lower is better",
        is_share=False,
    ),
    Figure(
        "calibration-error",
        lambda e: e.calibration_error,
        4,
        "calibration error",
        "distance of confidence from accuracy",
    ),
    Figure(
        "majority-class",
        lambda e: e.majority,
        3,
        "most frequent class",
        "accuracy of always answering it",
    ),
)
"""All figures that are one number, in the order of the status and metrics.json."""


def status_metrics(evaluation: Evaluation) -> tuple[Metric, ...]:
    """Return METRICS for the job's status, which has no floats."""
    values = ((figure.name, figure.value(evaluation)) for figure in METRICS)
    return tuple(Metric(name=n, value=as_decimal(v)) for n, v in values if v is not None)


def as_decimal(value: float) -> str:
    """Return a figure with the 4 decimals of the status and metrics.json."""
    return f"{value:.4f}"


def measure(
    answers: Answers, *, classes: Sequence[str], paths: Sequence[str], cross_entropy: float
) -> Evaluation:
    """Return all figures; `paths` are the images' paths, in the order of the answers."""
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (answers.labels, answers.predicted), 1)
    figures = tuple(_of_class(name, confusion, number) for number, name in enumerate(classes))
    images, correct = len(answers.labels), int(confusion.trace())
    bins = _bins(answers)
    return Evaluation(
        images=images,
        correct=correct,
        accuracy=correct / images,
        interval=wilson(correct, images),
        mean_per_class=_mean_recall(figures),
        majority=int(confusion.sum(axis=1).max()) / images,
        cross_entropy=cross_entropy,
        calibration_error=sum(b.images * abs(b.confidence - b.accuracy) for b in bins) / images,
        classes=figures,
        confusion=tuple(
            (int(row), int(column), int(confusion[row, column]))
            for row, column in zip(*confusion.nonzero(), strict=True)
        ),
        calibration=bins,
        worst=_worst(answers, classes, paths),
        top5=int((answers.rank < TOP).sum()) / images if len(classes) > TOP else None,
        notes=_notes(figures),
    )


def wilson(correct: int, images: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, which unlike the normal one never leaves 0 to 1."""
    share, weight = correct / images, NORMAL_95**2 / images
    centre = share + weight / 2
    spread = math.sqrt(weight * (share * (1 - share) + weight / 4))
    # Rounded, because the last bit of a float could be outside of 0 to 1.
    low, high = (round((centre + side * spread) / (1 + weight), 9) for side in (-1, 1))
    return max(0.0, low), min(1.0, high)


def _of_class(name: str, confusion: Ints, number: int) -> ClassFigures:
    images, predicted = int(confusion[number].sum()), int(confusion[:, number].sum())
    correct = int(confusion[number, number])
    return ClassFigures(
        name=name,
        images=images,
        predicted=predicted,
        correct=correct,
        precision=correct / predicted if predicted else None,
        recall=correct / images if images else None,
        f1=2 * correct / (images + predicted) if images + predicted else None,
    )


def _mean_recall(figures: Sequence[ClassFigures]) -> float:
    recalls = [each.recall for each in figures if each.recall is not None]
    return sum(recalls) / len(recalls)


def _bins(answers: Answers) -> tuple[Bin, ...]:
    # A bin includes its upper bound; the first one also includes 0.
    place = np.clip(np.ceil(answers.confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    is_correct = answers.rank == 0
    found = []
    for number in np.unique(place):
        inside = place == number
        found.append(
            Bin(
                low=float(number / BINS),
                high=float((number + 1) / BINS),
                images=int(inside.sum()),
                confidence=float(answers.confidence[inside].mean(dtype=np.float64)),
                accuracy=float(is_correct[inside].mean()),
            )
        )
    return tuple(found)


def _worst(answers: Answers, classes: Sequence[str], paths: Sequence[str]) -> tuple[Mistake, ...]:
    wrong = np.flatnonzero(answers.rank)
    order = wrong[np.argsort(-answers.confidence[wrong], kind="stable")]
    return tuple(
        Mistake(
            record=int(number),
            path=paths[number],
            label=classes[answers.labels[number]],
            predicted=classes[answers.predicted[number]],
            confidence=round(float(answers.confidence[number]), 6),
            right=round(float(answers.right[number]), 6),
        )
        for number in order[:WORST]
    )


def _notes(figures: Sequence[ClassFigures]) -> tuple[str, ...]:
    """Return the mean without Caltech-256's class of everything else, as papers also state it."""
    others = [each for each in figures if not each.name.lower().endswith("clutter")]
    if len(others) in (0, len(figures)) or not any(each.images for each in others):
        return ()
    name = next(each.name for each in figures if each not in others)
    return (
        f"{name} holds pictures of anything else, as in Caltech-256, whose results are often "
        f"stated without it: the mean of the other {len(others)} classes is "
        f"{_mean_recall(others):.4f}.",
    )
