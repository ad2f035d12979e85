"""What a validation says about a classifier: exact figures from its answer to each image.

Pure arithmetic on one row per image, so that batches and devices make no difference. Imports no
MXNet.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import Struct

TOP = 5
BINS = 15
"""Of the calibration error, of equal width."""
WORST = 24
"""Wrong answers that are named."""
NORMAL_95 = 1.959963984540054
"""Standard deviations on either side that hold 95 % of a normal distribution."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a classifier said about images; all arrays have one entry for each."""

    labels: Ints
    predicted: Ints
    confidence: Floats
    """Probability of the predicted class, 0 to 1."""
    right: Floats
    """Probability of the image's own class, 0 to 1."""
    rank: Ints
    """Classes before the image's own, by probability; of equal ones the first wins."""

    @classmethod
    def of(cls, probabilities: Floats, labels: Ints) -> "Answers":
        """Take the rows [images, classes] of a batch."""
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
        """Put batches together in their order."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def total_loss(right: Floats) -> float:
    """Return the sum of the cross-entropies, in nats, from what each image's own class got."""
    return -float(np.log(np.maximum(right, np.float32(1e-12))).sum(dtype=np.float64))


class ClassFigures(Struct):
    """How well one class is recognised. A quotient by zero is left out."""

    name: str
    images: int
    predicted: int
    """Images that were taken for it."""
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
    """Mean."""
    accuracy: float


class Mistake(Struct):
    """A wrong answer."""

    record: int
    """Which record of val.rec."""
    path: str
    """Of the photo in its source."""
    label: str
    predicted: str
    confidence: float
    right: float
    """Probability that the image's own class was given."""


class OnnxFile(Struct):
    """How the ONNX file's answers compare with MXNet's, on all validation images."""

    opset: int = 0
    images: int = 0
    differing: int = 0
    """Images with another most probable class."""
    ties: int = 0
    """Those of them whose two classes are as probable as float arithmetic can tell."""
    max_difference: float = 0.0
    """Of any probability."""
    reason: str = ""
    """Why there is no file; empty: there is one."""


class Evaluation(Struct):
    """evaluation.json: all figures about the saved model, from the validation images."""

    images: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    """Of the accuracy: 95 %, by Wilson."""
    mean_per_class: float
    """Mean of the classes' recall: Caltech's metric."""
    majority: float
    """What always naming the commonest class would score: the accuracy must beat it."""
    cross_entropy: float
    calibration_error: float
    """Expected difference of confidence and accuracy."""
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, int, int], ...]
    """(class, predicted class, images) where there are any."""
    calibration: tuple[Bin, ...]
    worst: tuple[Mistake, ...]
    """The most confident wrong answers."""
    top5: float | None = None
    """With more than five classes."""
    notes: tuple[str, ...] = ()
    onnx: OnnxFile | None = None
    """None: not asked for."""


def measure(
    answers: Answers, *, classes: Sequence[str], paths: Sequence[str], cross_entropy: float
) -> Evaluation:
    """Return all figures; `paths` are those of the images, in their order."""
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
    """Return the 95 % interval of a share; unlike the normal one it never leaves 0 to 1."""
    share, weight = correct / images, NORMAL_95**2 / images
    centre = share + weight / 2
    spread = math.sqrt(weight * (share * (1 - share) + weight / 4))
    # Rounded, or the last bit of a float would leave the range.
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
    # The first bin has both of its bounds, the others their upper one.
    place = np.clip(np.ceil(answers.confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    is_right = answers.rank == 0
    found = []
    for number in np.unique(place):
        inside = place == number
        found.append(
            Bin(
                low=float(number / BINS),
                high=float((number + 1) / BINS),
                images=int(inside.sum()),
                confidence=float(answers.confidence[inside].mean(dtype=np.float64)),
                accuracy=float(is_right[inside].mean()),
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
    """Name Caltech-256's class of everything else: results are stated with and without it."""
    others = [each for each in figures if not each.name.lower().endswith("clutter")]
    if len(others) in (0, len(figures)) or not any(each.images for each in others):
        return ()
    name = next(each.name for each in figures if each not in others)
    return (
        f"{name} holds pictures of anything else, as in Caltech-256, whose results are often "
        f"stated without it: the mean of the other {len(others)} classes is "
        f"{_mean_recall(others):.4f}.",
    )
